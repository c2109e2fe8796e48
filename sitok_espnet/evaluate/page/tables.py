"""Tables as the template shows them, and cells that several of them have."""

from collections.abc import Mapping
from dataclasses import dataclass

from sitok_espnet.evaluate.markdown import NOT_JUDGED
from sitok_espnet.evaluate.page.text import interval, number
from sitok_espnet.evaluate.table import verdict

ARROWS = {"higher is better": "↑", "lower is better": "↓"}


@dataclass(frozen=True)
class Column:
    """Head of a column; ``arrow`` says which way is better."""

    title: str
    arrow: str = ""
    direction: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell: ``text``, what stands small below it (a line each), the number to sort by (None: last) and a style."""

    text: str
    small: tuple[str, ...] = ()
    sort: float | None = None
    style: str = ""


@dataclass(frozen=True)
class TableRow:
    """A row; with a ``reason`` it has no cells."""

    title: str
    small: str
    kind: str
    cells: tuple[Cell, ...]
    reason: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column is the rows' titles; ``reasons`` are why cells have no number, numbered from 1."""

    caption: str
    first: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    reasons: tuple[str, ...] = ()


def column_of(name: str, card: Mapping) -> Column:
    """Head of a metric's column."""
    direction = card.get("direction", "")
    return Column(card.get("title", name), ARROWS.get(direction, ""), direction)


class Reasons:
    """Reasons under a table, each once."""

    def __init__(self):
        self.texts: list[str] = []

    def cell(self, reason: str) -> Cell:
        """A cell that refers to its reason."""
        if reason not in self.texts:
            self.texts.append(reason)
        return Cell("not run", (f"reason {self.texts.index(reason) + 1}",), style="absent")


def difference_cell(cell: Mapping, card: Mapping, reasons: Reasons) -> Cell:
    """A paired comparison (`statistics.compare`) with what it shows; ``card`` has the decimals."""
    if cell.get("status") == NOT_JUDGED:
        return Cell("–", style="absent")
    if cell.get("status") != "measured":
        return reasons.cell(cell.get("reason", "not in the results"))
    digits, shows = card["decimals"], verdict(cell)
    sign = "+" if cell["value"] > 0 else ""
    small = (interval(cell, digits), f"p {cell['p_value']:.4f}")
    if cell.get("p_holm") is not None:
        small += (f"Holm p {cell['p_holm']:.4f}",)
    small += (shows,)
    style = {"better": "better", "worse": "worse"}.get(shows, "unclear")
    return Cell(sign + number(cell["value"], digits), small, cell["value"], style)
