"""What a recogniser heard beside what was said, word by word (ours)."""

from collections.abc import Sequence
from dataclasses import dataclass

SAME, SUBSTITUTED, INSERTED, LEFT_OUT = "same", "substituted", "inserted", "left out"


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
    """An alignment with the fewest errors, as the word error rate counts them; a substitution wins a tie."""
    costs = [list(range(len(heard) + 1))]
    for row, word in enumerate(said, 1):
        costs.append([row])
        for column, other in enumerate(heard, 1):
            before = costs[row - 1]
            best = min(before[column - 1] + (word != other), before[column] + 1, costs[row][column - 1] + 1)
            costs[row].append(best)
    row, column, words = len(said), len(heard), []
    while row or column:
        cost = costs[row][column]
        if row and column and cost == costs[row - 1][column - 1] + (said[row - 1] != heard[column - 1]):
            kind = SAME if said[row - 1] == heard[column - 1] else SUBSTITUTED
            words.append(Word(kind, said[row - 1], heard[column - 1]))
            row, column = row - 1, column - 1
        elif row and cost == costs[row - 1][column] + 1:
            words.append(Word(LEFT_OUT, said[row - 1], ""))
            row -= 1
        else:
            words.append(Word(INSERTED, "", heard[column - 1]))
            column -= 1
    return words[::-1]
