"""Tables of the understanding probes as the template shows them; numbers in per cent, as in their RESULTS.md."""

from collections.abc import Mapping

from sitok_espnet.evaluate.page.tables import ARROWS, Cell, Column, Reasons, Table, TableRow, difference_cell
from sitok_espnet.evaluate.page.text import MINUS, interval, number
from sitok_espnet.probes.table import HEADINGS
from sitok_espnet.probes.tasks import TITLES

_EXTRA = {"cer": "CER", "macro_f1": "macro F1"}
_PERCENT_POINTS = {"decimals": 1}


def probe_table(probes: Mapping) -> Table:
    """Understanding tasks against what the probe reads."""
    names = list(dict.fromkeys(name for task in probes["tasks"].values() for name in task["inputs"]))
    reasons, lines = Reasons(), []
    for name, task in probes["tasks"].items():
        chance = task.get("chance")
        metric = Cell(_metric(task))
        cells = [metric, Cell("–" if chance is None else number(100 * chance, 1), sort=chance)]
        cells += [_probe(task["inputs"].get(key), reasons) for key in names]
        lines.append(TableRow(task.get("title") or name.replace("_", " "), name, "task", tuple(cells)))
    columns = (Column("metric"), Column("chance"), *(Column(HEADINGS.get(name, name)) for name in names))
    caption = (
        "What a small network reads from frozen features, in per cent. Small: bootstrap intervals, test items, which "
        "of the task's architectures was better on the validation set, and what else was measured."
    )
    return Table(caption, "task", columns, tuple(lines), tuple(reasons.texts))


def probe_differences(probes: Mapping) -> Table | None:
    """Paired differences of the inputs, in percentage points; None where the results have none."""
    pairs = list(dict.fromkeys(pair for task in probes["tasks"].values() for pair in task.get("differences", {})))
    if not pairs:
        return None
    reasons, lines = Reasons(), []
    for name, task in probes["tasks"].items():
        found = task.get("differences", {})
        cells = [difference_cell(_percent(found.get(pair, {})), _PERCENT_POINTS, reasons) for pair in pairs]
        title = task.get("title") or name.replace("_", " ")
        lines.append(TableRow(title, name, "task", (Cell(_metric(task)), *cells)))
    caption = (
        "Differences over the same test items in percentage points, with intervals and two-sided p values of the "
        "paired bootstrap. Holm p: of a paired randomisation test, adjusted for the pairs of a task. The words "
        "say what they show of the first input."
    )
    columns = (Column("metric"), *(Column(pair.replace(" - ", f" {MINUS} ")) for pair in pairs))
    return Table(caption, "task", columns, tuple(lines), tuple(reasons.texts))


def probe_remarks(probes: Mapping) -> list[str]:
    """Where the tokens are between the baseline and the bound, and what is to be known of a task."""
    remarks = []
    for name, task in probes["tasks"].items():
        title = task.get("title") or name
        remarks += [f"{title}: {task[key]}" for key in ("order", "note") if task.get(key)]
    return remarks


def _metric(task: Mapping) -> str:
    better = task.get("higher_is_better")
    arrow = "" if better is None else ARROWS["higher is better" if better else "lower is better"]
    return f"{TITLES.get(task['metric'], task['metric'])} {arrow}".strip()


def _percent(cell: Mapping) -> dict:
    return {key: 100 * value if key in ("value", "low", "high") else value for key, value in cell.items()}


def _probe(cell: Mapping | None, reasons: Reasons) -> Cell:
    if not cell or cell.get("value") is None:
        return reasons.cell((cell or {}).get("reason", "not in the results"))
    percent = _percent(cell)
    small = (interval(percent, 1),) if {"low", "high"} <= percent.keys() else ()
    small += (f"n = {cell['count']:,}",) if cell.get("count") else ()
    small += (str(cell["probe"]).replace("_", " "),) if cell.get("probe") else ()
    for name, extra in cell.get("extra", {}).items():
        found = _percent(extra)
        small += (f"{_EXTRA.get(name, name)} {number(found['value'], 1)} {interval(found, 1)}",)
    return Cell(number(percent["value"], 1), small, cell["value"])
