"""Copy records made elsewhere (a cluster, a GPU machine) into the folder that train writes to: results= (runs).

labelnoise merge PATH...
labelnoise merge runs from-the-cluster.tar.gz results=results/runs

A PATH is a record, a folder with records in it, or a tar archive of them. A record's id must match its configuration.
A run that is already there with different metrics, or comes twice with different metrics, is reported and not merged.
Records of earlier versions get their current ids. Exit code 0 if every record was merged or already there.
"""

import sys
from pathlib import Path

from labelnoise.cli.arguments import split_named
from labelnoise.config.compose import compose
from labelnoise.files.atomic import check_writable
from labelnoise.files.text import plain
from labelnoise.records import store
from labelnoise.tables.record_files import read


def merge(arguments: list[str]) -> None:
    """Read all records, then write the new ones. Exit with 1 if a record is broken or in conflict.

    Args:
        arguments: paths, and `results=` for the target folder.
    Raises:
        ValueError: a path is empty, does not exist or holds no records, or `results` is not writable; none is written.
    """
    given, paths = split_named(arguments, "results")
    if not paths:
        raise ValueError("merge: needs at least one PATH: a record, a folder or a tar archive")
    if given.get("results") == "":
        raise ValueError("results=: needs a folder, such as results=runs")
    results = Path(compose([f"results={folder}" for folder in given.values()]).results)
    found, broken = read(paths)
    incoming: dict[str, list[store.Record]] = {}
    for record in found:
        incoming.setdefault(record["run_id"], []).append(record)
    if incoming:
        check_writable(results, *(f"{identifier}.json" for identifier in incoming))
    new = present = conflicts = 0
    for identifier, versions in sorted(incoming.items()):
        known = standing(results / f"{identifier}.json")
        if any(differ(other, known or versions[0]) for other in versions):
            conflicts += 1
            all_versions = ", ".join(map(_in_short, [known, *versions] if known else versions))
            kept = "the first is kept" if known else "none is merged"
            print(f"{identifier}: {all_versions}; different metrics, {kept}", file=sys.stderr)
        elif known:
            present += 1
        else:
            store.write(versions[0], results)
            new += 1
    where = results.relative_to(Path.cwd()) if results.is_relative_to(Path.cwd()) else results
    print(f"{new} new, {present} already there, {conflicts} in conflict, {broken} broken: {where}")
    if conflicts or broken:
        sys.exit(1)


def standing(path: Path) -> store.Record | None:
    """The record at this path; None if there is none, or a broken one, which is reported and will be replaced."""
    try:
        return store.load(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        print(f"{error}; replaced", file=sys.stderr)
        return None


def differ(one: store.Record, other: store.Record) -> bool:
    """Whether two records of a run differ in a value that both hold; later versions record more values."""
    return any(
        one[part][key] != other[part][key] for part in ("noise", "metrics") for key in one[part].keys() & other[part]
    )


def _in_short(record: store.Record) -> str:
    """A record's accuracy and where it was made, for a message."""
    facts = record["environment"]
    machine = facts.get("processor") if facts.get("device", "cpu") == "cpu" else facts["device"]
    made = plain(f"{(facts.get('commit') or 'unknown commit')[:7]}, {machine or 'unknown processor'}")
    return f"{record['metrics']['test_acc_last']} ({made})"
