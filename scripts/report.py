"""Write one HTML page over a folder of records: tables beside the published numbers, curves, noise, configurations.

python scripts/report.py
python scripts/report.py results=runs out=report.html

Records are looked for in results= (runs) and among the committed ones. The page opens from disk and loads nothing.
"""

from labelnoise.cli.errors import script
from labelnoise.report.page import report

if __name__ == "__main__":
    script(report, __doc__)
