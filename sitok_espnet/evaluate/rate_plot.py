"""Rate/quality curves: results.json -> one panel a metric, bit rate on a logarithmic axis (ours)."""

from collections.abc import Mapping
from pathlib import Path

from sitok_espnet.evaluate.files import write_json
from sitok_espnet.evaluate.peers import PEERS, PREFIX
from sitok_espnet.evaluate.table import row_title

RATE_FILES = ("rate_quality.json", "rate_quality.png")
OWN = "SiTok"
_MARKERS = "osD^vP*X<>"
_COLUMNS, _PANEL_INCHES, _DPI = 3, (4.2, 3.4), 100


def rate_quality(results: Mapping) -> dict:
    """The curves' data: every measured cell of a row that has a rate.

    Returns:
        {"metrics": {name: {"title", "unit", "direction", "original": value or null, "families": {family: [point]}}}}
        with points {"row", "title", "bits_per_second", "value", "low", "high"} by rising rate. A family is what one
        line joins: all settings of a codec ("Opus"), or the rows of the tokenizer ("SiTok"). Metrics without a point
        are left out.
    """
    metrics = {}
    for name, card in results["metrics"].items():
        families: dict[str, list[dict]] = {}
        for row, content in results["systems"].items():
            cell = content["metrics"][name]
            if not content.get("rate") or cell["status"] != "measured":
                continue
            families.setdefault(_family(row), []).append(
                {
                    "row": row,
                    "title": row_title(row),
                    "bits_per_second": content["rate"]["bits_per_second"],
                    **{key: cell[key] for key in ("value", "low", "high")},
                }
            )
        if not families:
            continue
        for points in families.values():
            points.sort(key=lambda point: point["bits_per_second"])
        original = results["systems"].get("original", {}).get("metrics", {}).get(name, {})
        metrics[name] = {key: card[key] for key in ("title", "unit", "direction")} | {
            "original": original["value"] if original.get("status") == "measured" else None,
            "families": families,
        }
    return {"metrics": metrics}


def _family(row: str) -> str:
    codec = row.removeprefix(PREFIX).partition("_")[0]
    return PEERS[codec].title if row.startswith(PREFIX) and codec in PEERS else OWN


def draw_rate_quality(data: Mapping, path: Path) -> None:
    """Write the PNG (atomically).

    Points of a codec are joined by a line; those of SiTok are not: they are decodings of the same codes. The line
    across is the original recording, where the metric measures it too.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    metrics = data["metrics"]
    names = list(dict.fromkeys(family for card in metrics.values() for family in card["families"]))
    columns = min(_COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    size = (_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows + 0.6)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    handles = {}
    for panel, card in zip(panels, metrics.values(), strict=False):
        for family, points in card["families"].items():
            style = {"color": f"C{names.index(family) % 10}", "marker": _MARKERS[names.index(family) % len(_MARKERS)]}
            values = [point["value"] for point in points]
            below = [point["value"] - point["low"] for point in points]
            above = [point["high"] - point["value"] for point in points]
            line = "none" if family == OWN else "-"
            rates = [point["bits_per_second"] for point in points]
            handles[family] = panel.errorbar(
                rates, values, [below, above], capsize=3, linestyle=line, markersize=6, label=family, **style
            )
        if card["original"] is not None:
            handles["original"] = panel.axhline(card["original"], color="0.4", linestyle="--", label="original")
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.tick_params(axis="x", labelrotation=30)
        panel.set_title(f"{card['title']} ({card['direction'].replace(' is better', '')} is better)", fontsize=11)
        panel.set_ylabel(card["unit"], fontsize=9)
        panel.set_xlabel("bit/s")
        panel.grid(alpha=0.3)
    for panel in panels[len(metrics) :]:
        panel.set_visible(False)
    figure.legend(handles=list(handles.values()), loc="outside upper center", ncols=min(6, len(handles)))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        figure.savefig(temporary, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_rate_quality(results: Mapping, folder: Path) -> None:
    """Data and picture into an evaluation directory, where any row has a rate and a score."""
    data = rate_quality(results)
    if data["metrics"]:
        write_json(folder / RATE_FILES[0], data)
        draw_rate_quality(data, folder / RATE_FILES[1])
