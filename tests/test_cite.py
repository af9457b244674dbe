"""`labelnoise cite`: every card names what it cites, every entry is whole and used, a table cites exactly its parts."""

import re
from pathlib import Path

import pytest
import yaml
from support.configs import every
from support.data import REPOSITORY

from labelnoise.config import citations
from labelnoise.config.compose import chosen_options
from labelnoise.config.groups import CONFIGS
from labelnoise.tables import table

TEXT = (CONFIGS / "references.bib").read_text()
CARDS = [(group, option) for group in citations.GROUPS for option in every(group)]
FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
KINDS = {  # what each kind of entry must have, and may have besides
    "inproceedings": ({"author", "title", "booktitle", "year"}, {"pages", "doi", "eprint", "archiveprefix"}),
    "article": ({"author", "title", "journal", "year"}, {"volume", "number", "pages", "doi"}),
    "misc": ({"author", "title", "year"}, {"howpublished", "doi", "eprint", "archiveprefix"}),
    "techreport": ({"author", "title", "institution", "year"}, set()),
    "software": ({"author", "title", "version"}, set()),
}


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),$", text, re.MULTILINE)


def test_every_card_names_what_it_cites_and_every_entry_is_cited() -> None:
    cited = {card: citations.keys_of(*card) for card in CARDS}
    assert not [card for card, found in cited.items() if found is None]
    named = {key for found in cited.values() for key in found or ()}
    assert named | {citations.PACKAGE} == set(citations.entries())


@pytest.mark.parametrize("card", CARDS, ids="=".join)
def test_a_card_cites_the_papers_that_its_comment_names(card: tuple[str, str]) -> None:
    """By the arXiv number, in the line `paper`; a card without one, by the first author and the year."""
    group, option = card
    paper = re.search(r"^# paper: (.+)$", (CONFIGS / group / f"{option}.yaml").read_text(), re.MULTILINE)
    entries = [citations.entries()[key] for key in citations.keys_of(group, option) or ()]
    for part in paper[1].split(";") if paper and paper[1] != "none" else ():
        number, named = re.search(r"arXiv:(\S+)", part), re.search(r"([A-Z]\w+),? .*?(\d{4})", part)
        assert named is not None
        same = [entry for entry in entries if f"year = {{{named[2]}}}" in entry]
        if number:
            same = [entry for entry in entries if f"eprint = {{{number[1]}}}" in entry]
        authors = [FIELD.search(entry)[2] for entry in same]  # type: ignore[index]
        assert any(
            named[1] in author.split(",")[0].replace(r"{\'e}", "e").replace(r"{\"u}", "ue") for author in authors
        ), part


def test_the_entries_are_whole_bibtex() -> None:
    found = list(citations.ENTRY.finditer(TEXT))
    rest = citations.ENTRY.sub("", TEXT)
    assert not [line for line in rest.splitlines() if line and not line.startswith("%")]
    assert len({match[1] for match in found}) == len(found) > 50
    for match in found:
        kind = match[0].partition("{")[0][1:]
        head, *lines, end = match[0].splitlines()
        fields = dict(FIELD.findall(match[0]))
        needed, allowed = KINDS[kind]
        assert (head, end) == (f"@{kind}{{{match[1]},", "}")
        assert len(fields) == len(lines), match[1]
        assert needed <= set(fields) <= needed | allowed, match[1]
        for value in fields.values():
            depths = [value[:i].count("{") - value[:i].count("}") for i in range(len(value) + 1)]
            assert min(depths) == depths[-1] == 0, value
        assert ("eprint" in fields) == ("archiveprefix" in fields), match[1]
        assert re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "1234.5678")), match[1]
        if match[1] != citations.PACKAGE:
            assert f"{fields['year']}" in match[1], "the key has the year"
            assert all("," in author for author in fields["author"].split(" and ")), "family name, given names"


def test_the_packages_entry_is_that_of_its_citation_file() -> None:
    cff = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    fields = dict(FIELD.findall(citations.entries()[citations.PACKAGE]))
    assert fields == {
        "author": f"{{{cff['authors'][0]['name']}}}",
        "title": cff["title"],
        "version": str(cff["version"]),
    }


def test_a_run_cites_its_parts(labelnoise) -> None:
    ended = labelnoise("cite", "loss=agce", "dataset=cifar10", "noise=sym", "rate=0.4", "protocol=wang2024")
    assert (ended.code, ended.err) == (0, "")
    assert keys(ended.out) == ["krizhevsky2009", "ma2020", "zhou2021", "vapnik1991", "wang2024", "labelnoise"]
    assert set(ended.out.rstrip().split("\n\n")) <= set(citations.entries().values())


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("cifar10_wang2024", "ce_logitclip,gce,ce_eps_mae", "clean,asym_0.4"),
        ("digits_methods", "erm_ce,co_teaching", "sym_0.4,asym_0.4"),
    ],
)
def test_a_table_cites_exactly_its_parts(name: str, rows: str, columns: str, labelnoise) -> None:
    """What any of its cells uses."""
    choice = [f"table={name}", f"table.rows=[{rows}]", f"table.columns=[{columns}]"]
    expected = {citations.PACKAGE}
    for cell in table.cells(table.read(choice)._replace(seeds=(1,))):
        chosen = chosen_options(cell.overrides)
        expected |= {key for group in citations.GROUPS for key in citations.keys_of(group, chosen[group]) or ()}
    ended = labelnoise("cite", *choice)
    assert ended.err == ""
    assert len(keys(ended.out)) == len(set(keys(ended.out)))
    assert set(keys(ended.out)) == expected


def test_a_row_of_a_table_can_be_asked_for(labelnoise) -> None:
    ended = labelnoise("cite", "table=digits", "table.rows=[gce]", "table.columns=[clean]", "method=elr")
    expected = ["alpaydin1998", "zhang2018gce", "liu2020", "ma2020", "zhou2021", "labelnoise"]
    assert sorted(keys(ended.out)) == sorted(expected)


def test_ones_own_card_cites_ones_own_entries(tmp_path: Path, labelnoise) -> None:
    """Without the line it is named, and the rest is printed."""
    (tmp_path / "loss").mkdir()
    for name, line in (("mine", ""), ("cited", "# cite: me2026, ghosh2017\n"), ("wrong", "# cite: you2026\n")):
        card = f"{line}_target_: labelnoise.losses.absolute.mae\n_partial_: true\n"
        (tmp_path / "loss" / f"{name}.yaml").write_text(card)
    mine = "@misc{me2026,\n  author = {Me, I.},\n  title = {On Mine},\n  year = {2026},\n}"
    (tmp_path / "references.bib").write_text(mine + "\n")
    common = ["cite", "dataset=digits", "--config-dir", tmp_path]
    ended = labelnoise(*common, "loss=mine")
    assert (ended.code, ended.err) == (0, "loss=mine: its file has no line `# cite: KEY` or `# cite: none`\n")
    assert "labelnoise" in keys(ended.out)
    ended = labelnoise(*common, "loss=cited")
    assert ended.err == ""
    assert mine in ended.out
    assert "ghosh2017" in keys(ended.out)
    assert labelnoise(*common, "loss=wrong").err == "loss=wrong: cites you2026, which no references.bib has\n"


def test_mistakes_get_one_line(labelnoise) -> None:
    for argument in ("loss=nothing", "table=nothing"):
        ended = labelnoise("cite", argument)
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
        assert ended.err.startswith(f"error: {argument}: no such option")
