"""The scores of finished rows as one table: Markdown, JSON and a plot, every number with its bootstrap interval.

The first row is the reference: every other row is compared with it on the same test utterances (paired bootstrap).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from statistics import fmean

from ablation_rows import Row

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, write_json, write_text
from sitok_espnet.evaluate.markdown import cell_text, markdown_table
from sitok_espnet.evaluate.metrics import Measurement
from sitok_espnet.evaluate.statistics import CONFIDENCE, paired_difference
from sitok_espnet.evaluate.synthesis import TIMED
from sitok_espnet.evaluate.table import SIGNIFICANT, TITLES

ROW = "row.json"  # what local/ablate.py leaves in a finished row's folder, beside <set>.results.json
ENOUGH = 0.99  # of the training transcripts should fit the tokens (stage 3)
ANCHORS = ("original", "copy_synthesis")
CTC = "ctc_cer"
CTC_CARD = {"title": "CTC CER", "direction": "lower is better", "decimals": 3}
ARROWS = {"higher is better": " ↑", "lower is better": " ↓"}


def write_table(rows: Sequence[Row], finished: Mapping[str, Path], out: Path, reasons: Mapping[str, str]) -> None:
    """Write ``<out>.json``, ``<out>.md`` and ``<out>_<set>.png``, and print the page.

    Args:
        rows: the reference first.
        finished: row -> folder of its scores, all of them of the same settings.
        out: path without a suffix.
        reasons: why, of the other rows.
    """
    sets = sorted({name for folder in finished.values() for name in read_json(folder / ROW)["sets"]})
    if not sets:
        told = "; ".join(f"{row}: {reason}" for row, reason in reasons.items())
        raise SiTokError(f"no row is finished: nothing for {out}.md ({told})")
    tables = {name: collect(rows, finished, name, reasons) for name in sets}
    write_json(out.with_name(f"{out.name}.json"), tables)
    page = "\n".join(render(tables[name], name) for name in sets)
    write_text(out.with_name(f"{out.name}.md"), page)
    for name in sets:
        plot(tables[name], out.with_name(f"{out.name}_{name}.png"))
    print(page)


def collect(rows: Sequence[Row], finished: Mapping[str, Path], test_set: str, reasons: Mapping[str, str]) -> dict:
    """All numbers of one test set: {"reference", "metrics", "anchors", "rows": {name: {...}}}."""
    results, states = {}, {}
    for name, folder in finished.items():
        state = read_json(folder / ROW)
        if test_set in state["sets"]:
            states[name], results[name] = state, read_json(folder / f"{test_set}.results.json")
    reference = rows[0].name
    table: dict = {"reference": reference, "bootstrap": {}, "metrics": {}, "anchors": {}, "rows": {}}
    for result in results.values():
        table["bootstrap"] = result["bootstrap"]
        for name, card in result["metrics"].items():
            if card.get("status") != "not run":
                table["metrics"].setdefault(name, card)
    table["metrics"][CTC] = CTC_CARD
    for row in rows:
        entry: dict = {"title": row.title, "paper": dict(row.paper), "paper_note": row.paper_note}
        if row.name in results:
            entry |= {"status": "measured", **_numbers(results[row.name], states[row.name])}
            entry["notes"] = []
            if reference in results and row.name != reference:
                entry["difference"] = _differences(row.name, reference, results, states)
                entry["notes"] = _notes(row.name, reference, results, states)
        else:
            entry |= {"status": "not run", "reason": reasons.get(row.name, f"not scored on {test_set}")}
        table["rows"][row.name] = entry
    for system in ANCHORS:
        if system in results.get(reference, {}).get("systems", {}):
            table["anchors"][system] = results[reference]["systems"][system]["metrics"]
    return table


def _numbers(result: Mapping, state: Mapping) -> dict:
    card, use, bits = result["tokenizer"], result["codebook"]["train"], result["bits_per_second"]
    return {
        "scores": {**result["systems"][state["system"]]["metrics"], CTC: result["ctc"]["cer"]},
        "bits_per_second": bits.get("value"),
        "tokens_per_second": bits.get("tokens_per_second"),
        "codebook_sizes": bits.get("codebook_sizes"),
        "codebook_use": use.get("used"),
        "codebook_perplexity": use.get("perplexity"),
        "parameters": card.get("parameters"),
        "decode_rtf": result["speed"].get("decode") if state["system"] == TIMED else None,
        **{key: state[key] for key in ("experiment", "system", "train_seconds", "ctc_fit")},
    }


def _differences(name: str, reference: str, results: Mapping, states: Mapping) -> dict:
    """Metric -> paired difference, row minus reference, over the utterances that both have."""
    options = (results[reference]["bootstrap"]["resamples"], results[reference]["bootstrap"]["seed"])
    differences = {}
    for metric, card in [*results[reference]["metrics"].items(), (CTC, CTC_CARD)]:
        pair = [_measurements(results[row], states[row]["system"], metric) for row in (name, reference)]
        try:
            cell = asdict(paired_difference(*pair, *options))
        except SiTokError as error:
            differences[metric] = {"status": "not run", "reason": str(error)}
            continue
        better = cell["value"] > 0 if card["direction"] == "higher is better" else cell["value"] < 0
        word = ("better" if better else "worse") if cell["p_value"] < SIGNIFICANT else "no difference shown"
        differences[metric] = {"status": "measured", **cell, "verdict": word}
    return differences


def _measurements(result: Mapping, system: str, metric: str) -> dict[str, Measurement]:
    if metric == CTC:
        counts = result["ctc"].get("utterances") or {}
        return {utt: Measurement(count["errors"], count["length"]) for utt, count in counts.items()}
    measured = {}
    for utterance, values in result["systems"][system]["utterances"].items():
        if metric in values:
            value = values[metric]
            pair = (math.nan, 0.0) if value["value"] is None else (value["numerator"], value["denominator"])
            measured[utterance] = Measurement(*pair)
    return measured


def _notes(name: str, reference: str, results: Mapping, states: Mapping) -> list[str]:
    """What a reader must know before comparing a row with the reference."""
    here, there = states[name], states[reference]
    notes = []
    if here["experiment"] == there["experiment"]:
        notes.append("the same training as the reference")
    if here["ctc_fit"] is not None and here["ctc_fit"] < 1:
        text = f"the CTC can align {here['ctc_fit']:.1%} of the training utterances at this token rate"
        notes.append(text if here["ctc_fit"] >= ENOUGH else f"{text}: give the row longer pieces (--nbpe {name}=N)")
    if results[name]["data"] != results[reference]["data"]:
        notes.append("scored on another test set than the reference: only utterances in common are compared")
    for metric, card in results[reference]["metrics"].items():
        other = results[name]["metrics"].get(metric, {})
        if other.get("model") != card.get("model"):
            notes.append(f"{metric} was measured with another model than the reference's")
    return notes


def render(table: Mapping, test_set: str) -> str:
    """The page of one test set."""
    bootstrap = table["bootstrap"]
    parts = [
        f"## {test_set}",
        f"In brackets: {CONFIDENCE:.0%} percentile bootstrap intervals over utterances ({bootstrap['resamples']} "
        f"resamples, seed {bootstrap['seed']}). They hold the training fixed: rows of group seed show what chance does "
        "there.",
        _scores(table),
        f"Differences to {table['reference']} ({table['rows'][table['reference']]['title']}) on the same utterances; "
        "two-sided p of the paired bootstrap, not corrected for the number of rows:",
        _difference_table(table),
        "\n".join(f"- {name}: {note}." for name, entry in table["rows"].items() for note in _all_notes(entry)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _all_notes(entry: Mapping) -> list[str]:
    """What stands below the table about a row."""
    about_paper = (
        [f"the paper's numbers (*) may be of something else: {entry['paper_note']}"] if entry["paper_note"] else []
    )
    return [*about_paper, *entry.get("notes", ())]


def _scores(table: Mapping) -> str:
    metrics = table["metrics"]
    reference = (table["rows"][table["reference"]].get("decode_rtf") or {}).get("value")
    header = ["row", "", "bit/s", "tokens/s", "parameters"]
    header += [card["title"] + ARROWS.get(card["direction"], "") for card in metrics.values()]
    header += ["codebook perplexity (use)", "decoding: RTF (x reference)", "training", "paper: WER / SIM / ASR"]
    rows = []
    for name, entry in table["rows"].items():
        paper = " / ".join(
            f"{entry['paper'][key]:g}" if key in entry["paper"] else "-" for key in ("wer", "sim", "asr")
        )
        paper = paper + (" *" if entry["paper_note"] else "") if entry["paper"] else "-"
        if entry["status"] == "not run":
            rows.append([name, entry["title"], f"not run: {entry['reason']}", *["-"] * (len(header) - 4), paper])
            continue
        cells = [_cell(entry["scores"].get(metric), card) for metric, card in metrics.items()]
        rows.append(
            [
                name,
                entry["title"],
                _number(entry["bits_per_second"], ".1f"),
                f"{float(Fraction(entry['tokens_per_second'])):g}" if entry["tokens_per_second"] else "-",
                _number(entry["parameters"], ",d"),
                *cells,
                _codebook(entry),
                _speed(entry["decode_rtf"], reference),
                f"{entry['train_seconds']:.0f} s",
                paper,
            ]
        )
    for system, scores in table["anchors"].items():
        cells = [_cell(scores.get(metric), card) for metric, card in metrics.items()]
        rows.append([TITLES[system], "", "-", "-", "-", *cells, *["-"] * 4])
    return markdown_table(header, rows)


def _cell(cell: Mapping | None, card: Mapping) -> str:
    return cell_text(cell, card.get("decimals", 3)) if cell else "-"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _speed(decode: Mapping | None, reference: float | None) -> str:
    """Real-time factor from tokens to mel, and its ratio to the reference's."""
    if not decode:
        return "-"
    return f"{decode['value']:.3f}" + (f" ({decode['value'] / reference:.2f})" if reference else "")


def _codebook(entry: Mapping) -> str:
    """Mean over codebooks of perplexity / size, and of the share of entries in use, on the training dump."""
    if not entry["codebook_perplexity"]:
        return "-"
    shares = [p / size for p, size in zip(entry["codebook_perplexity"], entry["codebook_sizes"], strict=True)]
    sizes = entry["codebook_sizes"]
    size = f"{len(sizes)} x {sizes[0]:,}" if len(sizes) > 1 else f"{sizes[0]:,}"
    return f"{fmean(shares):.0%} of {size} ({fmean(entry['codebook_use']):.0%})"


def _difference_table(table: Mapping) -> str:
    metrics, rows = table["metrics"], []
    for name, entry in table["rows"].items():
        if "difference" not in entry:
            continue
        cells = [name]
        for metric, card in metrics.items():
            cell = entry["difference"].get(metric, {"status": "not run", "reason": "not measured"})
            text = cell_text(cell, card.get("decimals", 3))
            if cell["status"] == "measured":
                text += f", p {cell['p_value']:.3f}: {cell['verdict']}"
            cells.append(text)
        rows.append(cells)
    return markdown_table(["row", *(card["title"] for card in metrics.values())], rows) if rows else ""


def plot(table: Mapping, path: Path) -> None:
    """One panel a metric: every row's value with its interval, a line at the reference."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name, entry in table["rows"].items() if entry["status"] == "measured"]
    panels = {}
    for metric, card in table["metrics"].items():
        cells = {name: table["rows"][name]["scores"].get(metric, {}) for name in names}
        cells = {name: cell for name, cell in cells.items() if cell.get("status") == "measured"}
        if cells:
            panels[metric] = (card, cells)
    if not panels:
        return
    figure = Figure(figsize=(2.0 + 2.6 * len(panels), 1.2 + 0.28 * len(names)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (card, cells) in zip(axes, panels.values(), strict=True):
        for name, cell in cells.items():
            place = names.index(name)
            axis.plot([cell["low"], cell["high"]], [place, place], color="tab:blue", linewidth=1.5)
            axis.plot(cell["value"], place, "o", color="tab:blue", markersize=4)
        if table["reference"] in cells:
            axis.axvline(cells[table["reference"]]["value"], color="tab:gray", linewidth=0.8, linestyle="--")
        axis.set_title(card["title"] + ARROWS.get(card["direction"], ""), fontsize=10)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        figure.savefig(temporary, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
