"""What kinds of recognition errors there are: silence only deletes, the wrong words insert and substitute as well."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

KINDS = "error_kinds"  # in a cell of results.json
HEADER = ["system", "errors of", "units", "right", "substituted", "deleted", "inserted"]


@dataclass(frozen=True)
class ErrorKinds:
    """Counts; right + substituted + deleted are the reference's units, all but ``right`` are the errors."""

    right: int
    substituted: int
    deleted: int
    inserted: int


def error_kinds(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorKinds:
    """Of the alignments with the fewest errors the one with the most units right; time grows with both lengths.

    The fewest errors alone leave it open: "a b" heard as "b" and a word more is two substitutions, or one deletion and
    one insertion with a unit right.
    """
    best = [(inserted, 0) for inserted in range(len(hypothesis) + 1)]  # (errors, -right) of each prefix heard
    for position, unit in enumerate(reference, 1):
        row = [(position, 0)]
        for index, heard in enumerate(hypothesis):
            errors, right = best[index]
            aligned = (errors, right - 1) if unit == heard else (errors + 1, right)
            deleted, inserted = ((errors + 1, right) for errors, right in (best[index + 1], row[-1]))
            row.append(min(aligned, deleted, inserted))
        best = row
    errors, right = best[-1][0], -best[-1][1]
    substituted = len(reference) + len(hypothesis) - 2 * right - errors
    return ErrorKinds(right, substituted, len(reference) - right - substituted, len(hypothesis) - right - substituted)


def pooled_kinds(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[str, int]:
    """Sums over (reference, hypothesis) of utterances, as they stand in results.json."""
    counts = [asdict(error_kinds(*pair)) for pair in pairs]
    return {kind: sum(count[kind] for count in counts) for kind in ErrorKinds.__dataclass_fields__}


def error_rows(results: Mapping, title_of: Callable[[str], str]) -> list[list[str]]:
    """Rows below HEADER, shares in percent of the reference's units; none where no recogniser counted words.

    Args:
        results: of results.json; those of older versions have no kinds.
        title_of: system -> its title.
    """
    rows = []
    for system, content in results["systems"].items():
        for name, cell in content["metrics"].items():
            if found := cell.get(KINDS):
                units = found["right"] + found["substituted"] + found["deleted"]
                shares = [f"{100 * found[kind] / units:.1f} %" for kind in ErrorKinds.__dataclass_fields__]
                rows.append([title_of(system), results["metrics"][name]["title"], f"{units:,}", *shares])
    return rows
