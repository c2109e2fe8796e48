"""The page's diagrams: small panels, one SVG each, that a narrow window stacks instead of shrinking (ours)."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sitok_espnet.evaluate.page.audio import data_uri
from sitok_espnet.evaluate.page.collect import Evaluation
from sitok_espnet.evaluate.page.rows import Row, table_rows
from sitok_espnet.evaluate.page.training import Curves
from sitok_espnet.evaluate.step_page import COLOURS, MARKERS, draw_step_panel, series_name, step_panels

_POINTS = 300  # of a curve: more are not seen at this width
_INCHES = (3.7, 2.7)
_STYLE = {
    "svg.hashsalt": "sitok",  # ids in the SVG depend on its content alone
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#59636e",
    "axes.axisbelow": True,
    "grid.color": "#d8dee4",
    "grid.linewidth": 0.7,
    "xtick.color": "#3d444d",
    "ytick.color": "#3d444d",
    "legend.frameon": False,
    "legend.fontsize": 8,
}
LOSSES = {
    "loss": "total loss",
    "loss_decoder": "decoder loss",
    "loss_ctc": "CTC loss",
    "loss_quantizer": "quantizer loss",
}


@dataclass(frozen=True)
class Figure:
    """A diagram: its heading, what a reader who does not see it is told, and the picture."""

    title: str
    alt: str
    uri: str


def _draw(title: str, alt: str, paint: Callable, inches: tuple[float, float] = _INCHES) -> Figure:
    """``paint`` draws on a matplotlib axis."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(_STYLE):
        canvas = Canvas(figsize=inches, layout="constrained")
        FigureCanvasSVG(canvas)
        paint(canvas.subplots())
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return Figure(title, alt, data_uri(buffer.getvalue(), "image/svg+xml"))


def _logarithmic(axis, which: str) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    getattr(axis, f"set_{which}scale")("log")
    own = getattr(axis, f"{which}axis")
    low, high = getattr(axis, f"get_{which}lim")()
    own.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 300 else (1.0,)))
    own.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    own.set_minor_locator(NullLocator())


def _steps_axis(axis) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_xlabel("training step")
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def interval_figures(results: Mapping) -> list[Figure]:
    """A panel a metric: every system's value with its interval."""
    rows, figures = table_rows(results), []
    for name, card in results["metrics"].items():
        measured = [(row, row.cells[name]) for row in rows if row.cells[name].get("status") == "measured"]
        if len(measured) < 2:
            continue
        alt = f"{card['title']}, {card['direction']}: " + "; ".join(
            f"{row.title} {cell['value']:.{card['decimals']}f}" for row, cell in measured
        )
        inches = (_INCHES[0], 0.55 + 0.26 * len(measured))
        title = f"{card['title']} ({card['direction']})"
        figures.append(_draw(title, alt, lambda axis, m=measured: _paint_intervals(axis, m), inches))
    return figures


_KIND_COLOURS = {"reference": "#59636e", "model": COLOURS[0], "peer": COLOURS[1], "control": "#9aa4af"}


def _paint_intervals(axis, measured: Sequence[tuple[Row, Mapping]]) -> None:
    for place, (row, cell) in enumerate(measured):
        colour = _KIND_COLOURS[row.kind]
        axis.plot([cell["low"], cell["high"]], [place, place], color=colour, linewidth=2)
        axis.plot([cell["value"]], [place], "o", color=colour, markersize=5)
    axis.set_yticks(range(len(measured)), [row.title for row, _ in measured])
    axis.set_ylim(len(measured) - 0.5, -0.5)
    axis.grid(axis="x")
    axis.tick_params(axis="y", length=0)


def rate_figures(results: Mapping) -> list[Figure]:
    """A panel a metric against the bit rate; empty unless two systems with different rates were measured."""
    rows = [row for row in table_rows(results) if row.rate and row.kind in ("model", "peer")]
    families = list(dict.fromkeys(row.family for row in rows))  # with the same colour in every panel
    figures = []
    for name, card in results["metrics"].items():
        measured = [row for row in rows if row.cells[name].get("status") == "measured"]
        if len({row.rate for row in measured}) < 2:
            continue
        levels = [row for row in table_rows(results) if row.kind == "reference"]
        levels = [row for row in levels if row.cells[name].get("status") == "measured"]
        alt = f"{card['title']}, {card['direction']}, against bits per second: " + "; ".join(
            f"{row.title} {row.cells[name]['value']:.{card['decimals']}f} at {row.rate:,.0f}" for row in measured
        )
        title = f"{card['title']} ({card['direction']})"
        figures.append(
            _draw(title, alt, lambda axis, n=name, m=measured, v=levels: _paint_rates(axis, n, m, v, families))
        )
    return figures


def _paint_rates(axis, name: str, rows: Sequence[Row], levels: Sequence[Row], families: Sequence[str]) -> None:
    for index, family in enumerate(families):
        members = sorted((row for row in rows if row.family == family), key=lambda row: row.rate)
        if not members:
            continue
        cells = [row.cells[name] for row in members]
        values = [cell["value"] for cell in cells]
        # A percentile interval need not hold the value itself.
        below = [max(0.0, cell["value"] - cell["low"]) for cell in cells]
        above = [max(0.0, cell["high"] - cell["value"]) for cell in cells]
        # A second round of colours gets other markers.
        marker = MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]
        style = {"color": COLOURS[index % len(COLOURS)], "marker": marker}
        rates = [row.rate for row in members]
        axis.errorbar(rates, values, [below, above], label=family, capsize=3, **style)
    for row, line in zip(levels, ("--", ":", "-."), strict=False):
        axis.axhline(row.cells[name]["value"], color="#59636e", linewidth=1, linestyle=line, label=row.title)
    rates = [row.rate for row in rows]
    axis.set_xlim(min(rates) / 1.5, max(rates) * 1.5)
    _logarithmic(axis, "x")
    axis.set_xlabel("bit/s")
    axis.grid()
    axis.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.22))


def step_figures(steps: Mapping) -> list[Figure]:
    """Quality and time against solver steps, the panels of steps.png."""
    figures = []
    for panel in step_panels(steps):
        values = "; ".join(
            f"{series_name(row, steps)}, {row['steps'] or 'no'} steps: {interval['value']:.3f}"
            for row in steps["rows"]
            if (interval := panel.value(row))
        )

        def paint(axis, panel=panel) -> None:
            draw_step_panel(axis, steps, panel)
            axis.legend(ncols=1, loc="upper center", bbox_to_anchor=(0.5, -0.22))

        figures.append(_draw(f"{panel.title} ({panel.direction})", f"{panel.title} by solver steps: {values}", paint))
    return figures


def codebook_figures(evaluation: Evaluation) -> list[Figure]:
    """How often the codes of each codebook are used, from the most to the least frequent, in the test set."""
    if not evaluation.counts:
        return []
    tokens = int(evaluation.counts[0].sum())
    used = ", ".join(f"{np.count_nonzero(count):,} of {len(count):,}" for count in evaluation.counts)
    alt = f"Share of each code by rank in {tokens:,} tokens a codebook; codes used: {used}"

    def paint(axis) -> None:
        from matplotlib.ticker import PercentFormatter

        for index, count in enumerate(evaluation.counts):
            shares = np.sort(count[count > 0])[::-1] / count.sum()
            axis.plot(np.arange(1, len(shares) + 1), shares, color=_shade(index, len(evaluation.counts)))
            axis.lines[-1].set_label(f"codebook {index + 1}")
        for size in sorted({len(count) for count in evaluation.counts}):
            axis.axhline(1 / size, color="#59636e", linestyle="--", linewidth=1, label=f"all {size:,} alike")
        _logarithmic(axis, "x")
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.set_xlabel("rank of the code")
        axis.set_ylabel("share of tokens")
        axis.grid()
        axis.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))

    return [_draw(f"Codes by frequency, {tokens:,} tokens of the test set", alt, paint, (4.2, 3.9))]


def _shade(index: int, count: int):
    """Codebooks are ordered: shades from dark to light; one is blue."""
    from matplotlib import colormaps

    return COLOURS[0] if count == 1 else colormaps["viridis"](0.88 * index / (count - 1))


def training_figures(curves: Curves) -> list[Figure]:
    """Losses, learning rate and codebook use over training steps."""
    everything = {*curves.train, *curves.valid}
    losses = [tag for tag in LOSSES if tag in everything]
    # Those of refinement, of a swapped part, of a vocoder (..._loss); loss_scale is mixed precision's.
    others = everything - {*LOSSES, "loss_scale"}
    losses += sorted(tag for tag in others if tag.startswith("loss") or tag.endswith("_loss"))
    figures = [_loss_figure(LOSSES.get(tag, tag.replace("_", " ")), tag, curves) for tag in losses]
    for prefix, title in (
        ("perplexity", "codebook perplexity, validation"),
        ("used_codes", "codes in use, validation"),
    ):
        tags = sorted(tag for tag in curves.valid if tag == prefix or tag.startswith(f"{prefix}_"))
        if tags:
            figures.append(_codebook_curve(title, tags, curves))
    for tag, title in (("optim0_lr0", "learning rate"), ("grad_norm", "gradient norm")):
        if tag in curves.train:
            figures.append(_loss_figure(title, tag, curves, logarithmic=tag != "optim0_lr0"))
    return figures


def _loss_figure(title: str, tag: str, curves: Curves, logarithmic: bool = True) -> Figure:
    parts = {"training": curves.train.get(tag), "validation": curves.valid.get(tag)}
    parts = {name: series for name, series in parts.items() if series is not None}
    alt = f"{title} over training steps; " + "; ".join(
        f"{name} from {series.values[0]:.4g} to {series.values[-1]:.4g} at step {series.steps[-1]:,}"
        for name, series in parts.items()
    )

    def paint(axis) -> None:
        for (name, series), colour, width in zip(parts.items(), COLOURS, (1.1, 1.8), strict=False):
            thin = series.thinned(_POINTS)
            axis.plot(thin.steps, thin.values, color=COLOURS[1] if name == "validation" else colour, linewidth=width)
            axis.lines[-1].set_label(name)
        if logarithmic and all((series.values > 0).all() for series in parts.values()):
            _logarithmic(axis, "y")
        _steps_axis(axis)
        axis.grid()
        if len(parts) > 1:
            axis.legend()

    return _draw(title, alt, paint)


def _codebook_curve(title: str, tags: Sequence[str], curves: Curves) -> Figure:
    last = ", ".join(f"{curves.valid[tag].values[-1]:.0f}" for tag in tags)

    def paint(axis) -> None:
        for index, tag in enumerate(tags):
            series = curves.valid[tag].thinned(_POINTS)
            axis.plot(series.steps, series.values, color=_shade(index, len(tags)), label=f"codebook {index + 1}")
        _steps_axis(axis)
        axis.set_ylim(bottom=0)
        axis.grid()
        if len(tags) > 1:
            axis.legend(ncols=2, loc="lower right")

    return _draw(title, f"{title} over training steps; at the end {last}", paint)
