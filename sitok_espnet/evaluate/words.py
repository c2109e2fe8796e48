"""What a recogniser heard beside what was said, word by word, and what kinds of errors it made.

Silence only deletes; other words substitute and insert: the same error rate can be either.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

SAME, SUBSTITUTED, INSERTED, LEFT_OUT = "same", "substituted", "inserted", "left out"
KINDS = {"correct": SAME, "substituted": SUBSTITUTED, "deleted": LEFT_OUT, "inserted": INSERTED}
CELL = "error_kinds"  # in a cell of results.json
SAID, HEARD = "said", "heard"  # of an utterance there: both texts after the metric's normalisation
HEADER = ["system", "errors of", "units", *KINDS]


@dataclass(frozen=True)
class Word:
    """A step of the alignment.

    Attributes:
        kind: SAME, SUBSTITUTED, INSERTED or LEFT_OUT.
        said: the word of the transcript; empty for an insertion.
        heard: the recognised word; empty where it was left out.
    """

    kind: str
    said: str
    heard: str


def align_words(said: Sequence[str], heard: Sequence[str]) -> list[Word]:
    """Of the alignments with the fewest errors, which the word error rate counts, one with the most words correct.

    The fewest errors alone leave it open: "a b" heard as "b c" is two substitutions, or "a" deleted, "b" correct, "c"
    inserted.
    """

    def step(cell: tuple[int, int], error: bool, correct: bool = False) -> tuple[int, int]:
        return cell[0] + error, cell[1] - correct

    costs = [[(column, 0) for column in range(len(heard) + 1)]]  # (errors, -correct) of what comes before
    for row, word in enumerate(said, 1):
        costs.append([(row, 0)])
        for column, other in enumerate(heard, 1):
            above, left = costs[row - 1], costs[row][column - 1]
            aligned = step(above[column - 1], word != other, word == other)
            costs[row].append(min(aligned, step(above[column], True), step(left, True)))
    row, column, words = len(said), len(heard), []
    while row or column:
        cost = costs[row][column]
        same = bool(row and column) and said[row - 1] == heard[column - 1]
        if row and column and cost == step(costs[row - 1][column - 1], not same, same):
            words.append(Word(SAME if same else SUBSTITUTED, said[row - 1], heard[column - 1]))
            row, column = row - 1, column - 1
        elif row and cost == step(costs[row - 1][column], True):
            words.append(Word(LEFT_OUT, said[row - 1], ""))
            row -= 1
        else:
            words.append(Word(INSERTED, "", heard[column - 1]))
            column -= 1
    return words[::-1]


def count_kinds(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[str, int]:
    """How many steps of each of KINDS the alignments of (said, heard) have."""
    counts = Counter(word.kind for said, heard in pairs for word in align_words(said, heard))
    return {name: counts[kind] for name, kind in KINDS.items()}


def error_rows(results: Mapping, title_of: Callable[[str], str]) -> list[list[str]]:
    """Rows below HEADER: shares in percent of the units that were said; none where no recogniser counted kinds.

    Args:
        results: of results.json; those of older versions have no kinds.
        title_of: system -> its title.
    """
    rows = []
    for system, content in results["systems"].items():
        for name, cell in content["metrics"].items():
            if found := cell.get(CELL):
                units = found["correct"] + found["substituted"] + found["deleted"]
                shares = [f"{100 * found[kind] / units:.1f} %" for kind in KINDS]
                rows.append([title_of(system), results["metrics"][name]["title"], f"{units:,}", *shares])
    return rows
