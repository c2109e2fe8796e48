"""results.json -> RESULTS.md: every cell is a number with its interval, a dash with a reason, or "not run: reason"."""

from collections.abc import Mapping, Sequence

from sitok_espnet.evaluate.earlier import REFINED, earlier_name
from sitok_espnet.evaluate.peers import peer_title

TITLES = {
    "original": "original",
    "copy_synthesis": "copy synthesis",
    "copy_griffin_lim": "copy synthesis, Griffin-Lim",
    "reconstruction": "reconstruction",
    "reconstruction_cfg": "reconstruction with CFG",
    "untrained": "untrained",
    "mean_mel": "control: mean mel",
    "other_tokens": "control: other tokens",
}

SIGNIFICANT = 0.05


def row_title(system: str) -> str:
    """``reconstruction_unrefined`` -> "reconstruction, unrefined"; ``peer_opus_6k`` -> "Opus, 6 kbit/s"."""
    if name := earlier_name(system):
        return f"{TITLES[REFINED]}, {name.replace('_', ' ')}"
    return TITLES.get(system) or peer_title(system) or system


def render(results: Mapping) -> str:
    """The whole page as Markdown."""
    parts = [
        "# Results",
        _headline(results),
        _systems_table(results),
        _legend(results),
        "## Tokenizer",
        _tokenizer_table(results),
        _peers_section(results),
        "## Comparisons",
        _comparisons(results),
        "## Provenance",
        _provenance(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; cells are escaped so that no text can break it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_escape(cell) for cell in line) + " |" for line in lines)


def _escape(cell: str) -> str:
    return " ".join(str(cell).split()).replace("|", "\\|") or " "


def cell_text(cell: Mapping, decimals: int) -> str:
    """A number with its interval, or why there is none."""
    if cell["status"] == "not run":
        return f"not run: {cell['reason']}"
    if cell["status"] == "reference":
        return "-"
    text = f"{cell['value']:.{decimals}f} [{cell['low']:.{decimals}f}, {cell['high']:.{decimals}f}]"
    excluded = len(cell.get("excluded", {}))
    return text + (f" ({excluded} excluded)" if excluded else "")


def _headline(results: Mapping) -> str:
    data, bootstrap = results["data"], results["bootstrap"]
    return (
        f"{data['utterances']} test utterances, {data['with_transcript']} of them with a transcript "
        f"({data['reference_words']} words). In brackets: {bootstrap['confidence']:.0%} percentile bootstrap intervals "
        f"over utterances ({bootstrap['resamples']} resamples, seed {bootstrap['seed']})."
    )


def _decimals(results: Mapping, name: str) -> int:
    return results["metrics"][name].get("decimals", 3)


def _systems_table(results: Mapping) -> str:
    metrics = results["metrics"]
    arrows = {"higher is better": " ↑", "lower is better": " ↓"}
    rated = any(content.get("rate") for content in results["systems"].values())
    header = ["system", *(["bit/s"] if rated else [])]
    header += [
        card.get("title", name.upper()) + arrows.get(card.get("direction"), "") for name, card in metrics.items()
    ]
    rows = []
    for system, content in results["systems"].items():
        cells = [cell_text(content["metrics"][name], _decimals(results, name)) for name in metrics]
        rows.append([row_title(system), *([rate_text(content.get("rate"))] if rated else []), *cells])
    return markdown_table(header, rows)


def rate_text(rate: Mapping | None) -> str:
    """Bits a second, in brackets what the setting promises where that is another number."""
    if rate is None:
        return "-"
    text, nominal = f"{rate['bits_per_second']:,.0f}", rate["nominal"]
    return text if nominal is None or f"{nominal:,.0f}" == text else f"{text} (nominal {nominal:,.0f})"


def _legend(results: Mapping) -> str:
    lines = []
    for name, card in results["metrics"].items():
        if card.get("status") == "not run":
            lines.append(f"- {name}: not run: {card['reason']}")
            continue
        text = f"- {card['title']}: {card['unit']}, {card['direction']}; {card['model']}, version {card['version']}, "
        text += f"at {card['sample_rate']} Hz"
        if card.get("pronounced_by_rule"):
            text += f"; pronounced by spelling rules only: {', '.join(card['pronounced_by_rule'])}"
        lines.append(text + ".")
    lines += [f"- {note}" for note in _notes(results)]
    return "\n".join(lines)


def _notes(results: Mapping) -> list[str]:
    notes, dash = [], False
    for system, content in results["systems"].items():
        title = row_title(system)
        for name, cell in content["metrics"].items():
            dash = dash or cell["status"] == "reference"
            notes += [f"excluded from {name} of {title}: {text}." for text in _grouped(cell.get("excluded", {}))]
            notes += [f"{name} of {title}: {text}." for text in _grouped(cell.get("notices", {}))]
        if clipped := content.get("samples_clipped"):
            notes.append(f"{title}: audio beyond [-1, 1] was clipped when written in {_some(sorted(clipped))}.")
    sources = {content["rate"]["source"] for content in results["systems"].values() if content.get("rate")}
    if sources:
        notes.insert(0, f'bit/s: {" or ".join(sorted(sources))}; "-": no code, or a control.')
    if dash:
        notes.insert(0, '"-": the original compared with itself is perfect by construction.')
    return notes


def _grouped(remarks: Mapping[str, str]) -> list[str]:
    """Utterances with the same remark in one phrase."""
    groups: dict[str, list[str]] = {}
    for utterance in sorted(remarks):
        groups.setdefault(remarks[utterance], []).append(utterance)
    return [f"{remark}: {_some(utterances)}" for remark, utterances in groups.items()]


def _some(utterances: Sequence[str], most: int = 4) -> str:
    """A few ids and how many more; results.json has them all."""
    more = len(utterances) - most
    return ", ".join(utterances[:most]) + (f" and {more} more" if more > 0 else "")


def _tokenizer_table(results: Mapping) -> str:
    rows = [
        ["CTC decoder, CER", cell_text(results["ctc"]["cer"], 3)],
        ["CTC decoder, WER", cell_text(results["ctc"]["wer"], 3)],
    ]
    for part, title in (("train", "training dump"), ("test", "test set")):
        use = results["codebook"][part]
        if use["status"] == "not run":
            rows.append([f"codebook use, {title}", cell_text(use, 0)])
            rows.append([f"perplexity, {title}", cell_text(use, 0)])
            continue
        used = ", ".join(f"{share:.1%} of {size:,}" for share, size in zip(use["used"], use["sizes"], strict=True))
        perplexity = ", ".join(
            f"{value:.1f} ({value / size:.1%} of {size:,})"
            for value, size in zip(use["perplexity"], use["sizes"], strict=True)
        )
        rows.append([f"codebook use, {title}", f"{used} ({use['tokens']:,} tokens)"])
        rows.append([f"perplexity, {title}", perplexity])
    bits = results["bits_per_second"]
    if bits["status"] == "measured":
        sizes = " + ".join(f"log2({size:,})" for size in bits["codebook_sizes"])
        rows.append(["bits per second", f"{bits['value']:.1f} = {bits['frame_rate']} x ({sizes})"])
    else:
        rows.append(["bits per second", cell_text(bits, 1)])
    speed = results["speed"]
    for part, title in (("encode", "encode"), ("decode", "decode (tokens to mel)"), ("vocoder", "vocoder")):
        name = f"real-time factor, {title}"
        if speed["status"] == "not run":
            rows.append([name, cell_text(speed, 3)])
        else:
            steps = f", {steps_text(speed['steps'])}" if part == "decode" else ""
            rows.append([name, cell_text({"status": "measured", **speed[part]}, 4) + steps])
    table = markdown_table(["quantity", "value"], rows)
    if speed["status"] == "measured":
        table += (
            f"\n\nReal-time factor: seconds of computing a second of audio; {speed['batch']}, on "
            f"{speed['device']} with {speed['threads']} threads ({_machine(speed['machine'])})."
        )
    return table


def _peers_section(results: Mapping) -> str:
    """Versions, weights and speed of other codecs; empty where there are none."""
    peers = {row: content for row, content in results["systems"].items() if content.get("about")}
    rows = []
    for row, content in peers.items():
        about, speed = content["about"], content.get("speed")
        factors = ["-", "-"]
        if speed:
            factors = [cell_text({"status": "measured", **speed[part]}, 4) for part in ("encode", "decode")]
        rows.append(
            [row_title(row), about["version"], about["weights"], rate_text(content["rate"]), *factors, about["note"]]
        )
    if not rows:
        return ""
    header = ["codec", "version", "weights", "bit/s", "real-time factor, encode", "real-time factor, decode", "note"]
    timed = {(s["device"], s["threads"], s["batch"]) for c in peers.values() if (s := c.get("speed"))}
    ways = " or ".join(f"{batch}, on {device} with {threads} threads" for device, threads, batch in sorted(timed))
    table = markdown_table(header, rows)
    return f"## Other codecs\n\n{table}" + (f"\n\nReal-time factor: {ways}, resampling included." if ways else "")


def steps_text(steps: int | None) -> str:
    """Solver steps in words; None is a decoder that does not iterate."""
    return "one pass" if steps is None else f"{steps} steps"


def _machine(machine: Mapping) -> str:
    return ", ".join(
        [
            f"{machine['processor']}, {machine['cores']} cores",
            machine["memory"],
            f"accelerator: {machine['accelerator']}",
            f"Python {machine['python']}, torch {machine['torch']}",
        ]
    )


def _comparisons(results: Mapping) -> str:
    measured = [name for name, card in results["metrics"].items() if card.get("status") != "not run"]
    rows = []
    for pair in results["comparisons"]:
        for name in measured:
            cell = pair["metrics"][name]
            title = " - ".join(_short_title(pair[side]) for side in ("first", "second"))
            if cell["status"] == "not run":
                rows.append([title, results["metrics"][name]["title"], cell_text(cell, 3), "-", "-", "-"])
                continue
            rows.append(
                [
                    title,
                    results["metrics"][name]["title"],
                    cell_text(cell, _decimals(results, name)),
                    f"{cell['p_value']:.4f}",
                    verdict(cell),
                    "overlap" if cell["intervals_overlap"] else "apart",
                ]
            )
    header = ["systems", "metric", "difference (paired bootstrap)", "p, two-sided", "the first is", "own intervals"]
    closed = results["mel_distance_closed"]
    if closed["status"] == "measured":
        way = f"{closed['value']:.1%} [{closed['low']:.1%}, {closed['high']:.1%}]"
    else:
        way = cell_text(closed, 3)
    sentence = f"Share of the way from untrained to copy synthesis that training closes, in mel distance: {way}."
    return markdown_table(header, rows) + "\n\n" + sentence


def _short_title(system: str) -> str:
    return peer_title(system) or system.replace("_", " ")


def verdict(cell: Mapping) -> str:
    """What a paired difference (`statistics.compare`) shows of the first system."""
    if cell["p_value"] >= SIGNIFICANT:
        return "no difference shown"
    return "better" if cell["first_is_better"] else "worse"


def provenance_lines(made: Mapping) -> list[str]:
    """Command, commit and machine, one a line."""
    lines = [f"- {key.replace('_', ' ')}: `{value}`" for key, value in made.items() if key != "machine"]
    return lines + ([f"- machine: {_machine(made['machine'])}"] if "machine" in made else [])


def _provenance(results: Mapping) -> str:
    lines = provenance_lines(results.get("provenance", {}))
    card = results["tokenizer"]
    if card["status"] == "measured":
        lines.append(
            f"- model: {card['model_hash']} ({card['checkpoint']} checkpoint, {card['parameters']:,} parameters), "
            f"configuration {card['config_hash']}, mel {card['mel_hash']}, vocoder {card['vocoder']}"
        )
    else:
        lines.append(f"- model: {cell_text(card, 0)}")
    return "\n".join(lines)
