"""Draw a figure of a paper from records, as PDF and PNG, in the sizes and fonts of a two-column paper.

python scripts/figures.py accuracy table=digits rows=[ce,mae,nce_agce] columns=[sym_0.2,sym_0.4,sym_0.6]
python scripts/figures.py memorisation table=cifar10_zhou2021 rows=[ce,nce_agce] column=sym_0.4
python scripts/figures.py confusion table=digits rows=[ce,mae] column=asym_0.4
python scripts/figures.py label_precision table=digits rows=ce columns=[sym_0.4,asym_0.4]
python scripts/figures.py a_q loss=agce dataset=digits
python scripts/figures.py tsne model=runs/0123456789ab.safetensors dataset=digits images=1000

accuracy, memorisation, confusion and label_precision draw cells of a table (digits where none is given); further
options apply to every cell, as in scripts/table.py. Records are looked for in results= (runs) and among the committed
ones. out=FOLDER (figures) takes the files.
"""

from labelnoise.cli.errors import script
from labelnoise.figures.command import figures

if __name__ == "__main__":
    script(figures, __doc__)
