"""results.json of the probes -> RESULTS.md."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from sitok_espnet.evaluate.table import markdown_table
from sitok_espnet.probes.card import CONTINUOUS, INPUTS, MEL, QUANTIZED, TOKENS
from sitok_espnet.probes.tasks import TITLES

HEADINGS = {
    MEL: "mel (baseline)",
    TOKENS: "tokens",
    QUANTIZED: "quantized vectors",
    CONTINUOUS: "continuous (upper bound)",
}


def _percent(cell: Mapping) -> str:
    return f"{100 * cell['value']:.1f} [{100 * cell['low']:.1f}, {100 * cell['high']:.1f}]"


def render(results: Mapping) -> str:
    """The whole page as Markdown; all numbers are per cent."""
    parts = ["# Understanding probes", f"{tokenizer_line(results)}.", _headline(results), _main_table(results)]
    parts += ["\n".join(f"- {name}: {task['order']}." for name, task in results["tasks"].items() if task["order"])]
    parts += ["## What else was measured", _extra_table(results)]
    parts += ["## Differences", _differences(results)]
    parts += ["## All architectures", _architectures(results)]
    parts += ["## Notes", _notes(results)]
    if "provenance" in results:
        lines = [f"- {key}: {value}" for key, value in results["provenance"].items() if key != "machine"]
        machine = results["provenance"].get("machine", {})
        lines.append("- machine: " + ", ".join(f"{key} {value}" for key, value in machine.items()))
        parts += ["## Provenance", "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def tokenizer_line(results: Mapping) -> str:
    """Which tokenizer the inputs are of: model hash, frame rate, codebooks; empty where the table does not say."""
    inputs = results.get("inputs", {})
    if not inputs:
        return ""
    card = inputs.get(TOKENS) or next(iter(inputs.values()))
    sizes = card["codebook_sizes"]
    text = f"Tokenizer {card['model_hash'][:12]}, {float(Fraction(card['frame_rate'])):g} frames a second"
    return f"{text}, {_codebooks(sizes)}" if sizes else text


def _codebooks(sizes: Sequence[int]) -> str:
    if len(sizes) == 1:
        return f"one codebook of {sizes[0]:,} codes"
    if len(set(sizes)) == 1:
        return f"{len(sizes)} codebooks of {sizes[0]:,} codes"
    return f"{len(sizes)} codebooks of {', '.join(f'{size:,}' for size in sizes)} codes"


def _headline(results: Mapping) -> str:
    bootstrap = results["bootstrap"]
    rates = {item["frame_rate"] for item in results["inputs"].values()}
    return (
        f"Small probes on frozen features, all at {' or '.join(sorted(rates))} frames a second (mel frames are stacked "
        "to the token rate). Of each task's architectures the one with the smaller error on the validation set is "
        "shown (with folds: of each fold, by its own validation set, and the answers are pooled). "
        f"Per cent; in brackets {bootstrap['confidence']:.0%} percentile bootstrap intervals over test "
        f"utterances, or what the notes say of a task "
        f"({bootstrap['resamples']} resamples, seed {bootstrap['seed']}); they hold the training fixed."
    )


def _main_table(results: Mapping) -> str:
    header = ["task", "metric", "test", "chance", *(HEADINGS[name] for name in INPUTS if name in results["inputs"])]
    rows = []
    for name, task in results["tasks"].items():
        arrow = "↑" if task["higher_is_better"] else "↓"
        count = next(iter(task["inputs"].values()))["count"]
        unit = "trials" if task["metric"] == "eer" else "utterances"
        row = [f"{name} ({task['title']})", f"{TITLES[task['metric']]} {arrow}", f"{count} {unit}"]
        row.append(f"{100 * task['chance']:.1f}")
        for source in INPUTS:
            if source in results["inputs"]:
                cell = task["inputs"].get(source)
                row.append(f"{_percent(cell)} {cell['probe']}" if cell else "not run")
        rows.append(row)
    return markdown_table(header, rows)


def _extra_table(results: Mapping) -> str:
    sources = [name for name in INPUTS if name in results["inputs"]]
    rows = []
    for name, task in results["tasks"].items():
        extras = dict.fromkeys(key for cell in task["inputs"].values() for key in cell.get("extra", {}))
        for extra in extras:
            cells = [task["inputs"].get(source, {}).get("extra", {}).get(extra) for source in sources]
            rows.append([name, extra.replace("_", " "), *(_percent(cell) if cell else "not run" for cell in cells)])
    return markdown_table(["task", "metric", *(HEADINGS[name] for name in sources)], rows) if rows else "Nothing."


def _differences(results: Mapping) -> str:
    rows = []
    for name, task in results["tasks"].items():
        for pair, cell in task["differences"].items():
            row = [name, TITLES[task["metric"]], pair]
            if cell["status"] != "measured":
                rows.append([*row, f"{cell['status']}: {cell['reason']}", "", ""])
                continue
            rows.append([*row, _percent(cell), f"{cell['p_value']:.4f}", f"{cell['p_holm']:.4f}"])
    header = ["task", "metric", "pair", "difference (paired)", "p (bootstrap)", "p (randomisation, Holm)"]
    return markdown_table(header, rows) if rows else ""


def _architectures(results: Mapping) -> str:
    rows = []
    for name, task in results["tasks"].items():
        for source, cell in task["inputs"].items():
            for probe, found in cell["probes"].items():
                chosen, folds = list(cell["chosen"].values()).count(probe), task["folds"]
                times = f" (chosen in {chosen} of {folds} folds)" if folds > 1 else " (chosen)"
                rows.append(
                    [
                        name,
                        source,
                        probe + (times if chosen else ""),
                        f"{100 * found['valid_error']:.1f}",
                        _percent(found),
                        f"{found['parameters']:,} ({found['adapter_parameters']:,})",
                    ]
                )
    return markdown_table(["task", "input", "architecture", "validation error", "test", "parameters (adapter's)"], rows)


def _notes(results: Mapping) -> str:
    lines = [
        "- validation error: of characters (speech recognition), of labels (others; for verification, of the "
        "speakers of the training set).",
        "- chance: an empty transcript; the most frequent class of the training set; a coin.",
    ]
    for name, task in results["tasks"].items():
        counts = ", ".join(f"{count} {phase}" for phase, count in task["utterances"].items())
        folds = f"; {task['folds']} folds pooled" if task["folds"] > 1 else ""
        note = f" {task['note']}" if task["note"] else ""
        units = {cell["resampled"] for cell in task["inputs"].values() if "resampled" in cell}
        folds += "".join(f"; intervals over test {unit}" for unit in sorted(units))
        lines.append(f"- {name}: {counts} utterances{folds}; architectures: {task['architectures']}.{note}")
    return "\n".join(lines)
