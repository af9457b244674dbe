"""What the comment at the top of an option's file says: text, and fields such as `# paper: ...`."""

import re

from labelnoise.config.groups import CONFIGS

FIELD = re.compile(r"# (\w+): (.+)")
FIELDS = ("paper", "cite", "value", "state", "kind", "needs", "does", "cost")


def comment(group: str, option: str) -> tuple[str, dict[str, str]]:
    """The comment at the top of an option's file: its text, and the fields below it, such as `# paper: ...`."""
    lines = (CONFIGS / group / f"{option}.yaml").read_text().splitlines()
    text, fields = [], dict[str, str]()
    for line in lines[lines[0].startswith("# @package") :]:
        if not line.startswith("# "):
            break
        found = FIELD.fullmatch(line)
        if found and found[1] in FIELDS:
            fields[found[1]] = found[2]
        else:
            text.append(line[2:])
    return " ".join(text), fields
