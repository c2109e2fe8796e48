"""The step/quality curve as a page and a picture (ours)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sitok_espnet.evaluate.markdown import markdown_table, provenance_lines, steps_text
from sitok_espnet.evaluate.table import verdict

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")  # told apart by colour-blind readers
MARKERS = "os^Dv"


def render_steps(results: Mapping) -> str:
    """The whole page as Markdown."""
    reference, bootstrap, data = results["time_reference"], results["bootstrap"], results["data"]
    head = (
        f"{data['utterances']} utterances, each decoded alone with every model and number of solver steps, from the "
        f"same tokens and noise (seed {data['seed']}){_scaled(results)}, without guidance; vocoder {data['vocoder']}. "
        f"In brackets: {bootstrap['confidence']:.0%} percentile bootstrap intervals over utterances "
        f"({bootstrap['resamples']} resamples, seed {bootstrap['seed']}). Time: tokens to mel, measured in one process "
        f"with the models taking turns, divided by that of {_name(reference)}; real-time factor: seconds of it a "
        f"second of audio."
    )
    parts = ["# Quality against solver steps", head, _rows_table(results)]
    if results["differences"]:
        other = " or its first temperature" if _varies(results) else ""
        parts += [f"## Against the first model{other} at the same steps", _differences_table(results)]
    parts += ["## Provenance", "\n".join(provenance_lines(results["provenance"]))]
    return "\n\n".join(parts) + "\n"


def _varies(results: Mapping) -> bool:
    """Whether there are several temperatures."""
    return len({row.get("temperature") for row in results["rows"] if row["steps"]}) > 1


def _scaled(results: Mapping) -> str:
    """What the head says of the temperature, where it is not 1 everywhere."""
    found = {row["temperature"] for row in results["rows"] if row.get("temperature") is not None}
    if found <= {1}:
        return ""
    return " scaled by the temperature" if len(found) > 1 else f" scaled by {min(found):g} (temperature)"


def _name(row: Mapping) -> str:
    return row["model"] + (f" at {steps_text(row['steps'], row.get('temperature'))}" if row["steps"] else "")


def series_name(row: Mapping, results: Mapping) -> str:
    """Of the line that a row belongs to: its model, and its temperature where there are several."""
    if row.get("temperature") is None or not _varies(results):
        return row["model"]
    return f"{row['model']}, temperature {row['temperature']:g}"


def _cell(interval: Mapping | None, decimals: int) -> str:
    if interval is None:
        return "-"
    return f"{interval['value']:.{decimals}f} [{interval['low']:.{decimals}f}, {interval['high']:.{decimals}f}]"


def _rows_table(results: Mapping) -> str:
    metrics = results["metrics"]
    arrows = {"higher is better": "↑", "lower is better": "↓"}
    header = ["model", "steps", "temperature"]
    header += [f"{card['title']} {arrows[card['direction']]}" for card in metrics.values()]
    header += ["time", "real-time factor"]
    rows = []
    for row in results["rows"]:
        cells = [_cell(row["metrics"][name], card["decimals"]) for name, card in metrics.items()]
        times = [_cell(row["time_ratio"], 3), _cell(row["real_time_factor"], 4)]
        rows.append([row["model"], str(row["steps"] or "-"), _number(row.get("temperature")), *cells, *times])
    for title, level in (("copy synthesis", results["ceiling"]), ("original", results.get("original"))):
        if level:
            cells = [_cell(level.get(name), card["decimals"]) for name, card in metrics.items()]
            rows.append([title, "-", "-", *cells, "-", "-"])
    return markdown_table(header, rows)


def _number(temperature: float | None) -> str:
    return "-" if temperature is None else f"{temperature:g}"


def _differences_table(results: Mapping) -> str:
    rows = []
    for pair in results["differences"]:
        for name, card in results["metrics"].items():
            cell = pair["metrics"][name]
            names = [series_name(pair[side], results) for side in ("first", "second")]
            row = [" - ".join(names), str(pair["first"]["steps"] or "-"), card["title"]]
            if cell is None:
                rows.append([*row, "-", "-", "-"])
                continue
            rows.append([*row, _cell(cell, card["decimals"]), f"{cell['p_value']:.4f}", verdict(cell)])
    header = ["models", "steps", "metric", "difference (paired bootstrap)", "p, two-sided", "the first is"]
    return markdown_table(header, rows)


@dataclass(frozen=True)
class StepPanel:
    """One quantity against solver steps.

    Attributes:
        title, direction: what it is, and which way is better.
        value: its interval in a row of steps.json, or None.
        ceiling: the interval of copy synthesis, or None.
        original: that of the recordings, or None.
        from_zero: whether the axis begins at zero.
    """

    title: str
    direction: str
    value: Callable[[Mapping], Mapping | None]
    ceiling: Mapping | None = None
    original: Mapping | None = None
    from_zero: bool = False


def step_panels(results: Mapping) -> list[StepPanel]:
    """A panel a metric and one for the time."""
    original = results.get("original") or {}
    panels = [
        StepPanel(
            card["title"],
            card["direction"],
            lambda row, n=name: row["metrics"][n],
            results["ceiling"][name],
            original.get(name),
        )
        for name, card in results["metrics"].items()
    ]
    title = f"time / time of {_name(results['time_reference'])}"
    return [*panels, StepPanel(title, "lower is better", lambda row: row["time_ratio"], from_zero=True)]


def draw_step_panel(axis, results: Mapping, panel: StepPanel) -> None:
    """Draw on a matplotlib axis: a line a model and temperature, bars for the intervals."""
    steps = sorted({row["steps"] for row in results["rows"] if row["steps"]}) or [1]
    names = [series_name(row, results) for row in results["rows"]]
    for index, name in enumerate(dict.fromkeys(names)):
        rows = [row for own, row in zip(names, results["rows"], strict=True) if own == name and panel.value(row)]
        if not rows:
            continue
        # Without steps: a level over the whole axis.
        places = [[row["steps"]] for row in rows] if rows[0]["steps"] else [[steps[0], steps[-1]]]
        # A second round of colours gets other markers.
        marker = MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]
        style = {"color": COLOURS[index % len(COLOURS)], "marker": marker}
        _draw_line(axis, places, [panel.value(row) for row in rows], name, style)
    for level, line, label in ((panel.ceiling, "--", "copy synthesis"), (panel.original, ":", "original")):
        if level:
            axis.axhline(level["value"], color="grey", linestyle=line, linewidth=1, label=label)
    axis.set_xscale("log", base=2)
    axis.set_xticks(steps, [str(number) for number in steps])
    axis.minorticks_off()
    axis.set_xlabel("solver steps")
    axis.grid(alpha=0.3)
    if panel.from_zero:
        axis.set_ylim(bottom=0)


def plot_steps(results: Mapping, path: Path) -> None:
    """Write a PNG with all panels side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = step_panels(results)
    figure = Figure(figsize=(4.2 * len(panels), 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        draw_step_panel(axis, results, panel)
        axis.set_title(f"{panel.title}\n({panel.direction})", fontsize=10)
    shown = {}
    for axis in axes:
        shown |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        figure.savefig(temporary, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _draw_line(axis, places: list[list[int]], intervals: list[Mapping], label: str, style: dict) -> None:
    """One model; ``places`` are the steps at which each interval holds (bars there, a line through all)."""
    x = [step for place in places for step in place]
    shown = [interval for place, interval in zip(places, intervals, strict=True) for _ in place]
    values = [interval["value"] for interval in shown]
    # A percentile interval need not hold the value itself.
    below = [max(0.0, interval["value"] - interval["low"]) for interval in shown]
    above = [max(0.0, interval["high"] - interval["value"]) for interval in shown]
    axis.errorbar(x, values, yerr=[below, above], label=label, capsize=3, linewidth=1.5, markersize=5, **style)
