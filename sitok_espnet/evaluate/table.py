"""results.json -> RESULTS.md: every cell is a number with its interval, a dash with a reason, or "not run: reason"."""

from collections.abc import Mapping, Sequence

from sitok_espnet.evaluate.earlier import REFINED, earlier_name
from sitok_espnet.evaluate.judged import REMARK
from sitok_espnet.evaluate.markdown import NOT_JUDGED, REFERENCE, cell_text, markdown_table, provenance_lines
from sitok_espnet.evaluate.peers import peer_title
from sitok_espnet.evaluate.peers_table import peers_section, rate_text
from sitok_espnet.evaluate.speech_lm_table import speech_lm_section
from sitok_espnet.evaluate.tokenizer_table import closed_sentence, model_line, tokenizer_section
from sitok_espnet.evaluate.words import HEADER, error_rows

TITLES = {
    "original": "original",
    "copy_synthesis": "copy synthesis",
    "copy_griffin_lim": "copy synthesis, Griffin-Lim",
    "reconstruction": "reconstruction",
    "reconstruction_cfg": "reconstruction with CFG",
    "untrained": "untrained",
    "mean_mel": "control: mean mel",
    "other_tokens": "control: other tokens",
    "prompt_copy": "control: copy of the prompt's tokens",
}

FEWEST = 6  # 2 / 2 ** 6 is the first below SIGNIFICANT
SIGNIFICANT = 0.05
VERIFICATION_HEADER = ["system", "EER ↓", "trials"]
REMARKS = 4  # different ones on a page for one cell


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
        "\n".join(f"- {line}" for line in legend_lines(results)),
        _error_kinds(results),
        _verification(results),
        tokenizer_section(results),
        speech_lm_section(results),
        peers_section(results),
        _comparisons(results),
        "## Provenance",
        _provenance(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


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
        # Why a whole column is not run is said once, below the table.
        cells = [
            "not run"
            if card.get("status") == "not run"
            else cell_text(content["metrics"][name], _decimals(results, name))
            for name, card in metrics.items()
        ]
        rows.append([row_title(system), *([rate_text(content.get("rate"))] if rated else []), *cells])
    return markdown_table(header, rows)


def legend_lines(results: Mapping) -> list[str]:
    """What the columns are, and remarks on single cells."""
    lines = []
    for name, card in results["metrics"].items():
        if card.get("status") == "not run":
            lines.append(f"{name}: not run: {card['reason']}")
            continue
        text = f"{card['title']}: {card['unit']}, {card['direction']}; {card['model']}, version {card['version']}, "
        text += f"at {card['sample_rate']} Hz"
        if card.get("pronounced_by_rule"):
            text += f"; pronounced by spelling rules only: {', '.join(card['pronounced_by_rule'])}"
        lines.append(text + ".")
    return lines + _notes(results)


def _notes(results: Mapping) -> list[str]:
    notes, dash, unjudged = [], False, set()
    for system, content in results["systems"].items():
        title = row_title(system)
        for name, cell in content["metrics"].items():
            dash = dash or cell["status"] == REFERENCE
            if cell["status"] == NOT_JUDGED:
                unjudged.add(results["metrics"][name]["title"])
            notes += [f"excluded from {name} of {title}: {text}." for text in _grouped(cell.get("excluded", {}))]
            notes += [f"{name} of {title}: {text}." for text in _grouped(cell.get("notices", {}))]
        if clipped := content.get("samples_clipped"):
            notes.append(f"{title}: audio beyond [-1, 1] was clipped when written in {_some(sorted(clipped))}.")
    sources = {content["rate"]["source"] for content in results["systems"].values() if content.get("rate")}
    if sources:
        notes.insert(0, f'bit/s: {" or ".join(sorted(sources))}; "-": no code, or a control.')
    if unjudged:
        notes.insert(0, f'"-" in {", ".join(sorted(unjudged))}: {REMARK}.')
    if dash:
        notes.insert(0, '"-": the original compared with itself is perfect by construction.')
    return notes


def _grouped(remarks: Mapping[str, str]) -> list[str]:
    """Utterances with the same remark in one phrase."""
    groups: dict[str, list[str]] = {}
    for utterance in sorted(remarks):
        groups.setdefault(remarks[utterance], []).append(utterance)
    lines = [f"{remark}: {_some(utterances)}" for remark, utterances in groups.items()]
    rest = len(lines) - REMARKS
    return lines if rest <= 0 else [*lines[:REMARKS], f"{rest} more remarks of the kind are in results.json"]


def _some(utterances: Sequence[str], most: int = 4) -> str:
    """A few ids and how many more; results.json has them all."""
    more = len(utterances) - most
    return ", ".join(utterances[:most]) + (f" and {more} more" if more > 0 else "")


def _comparisons(results: Mapping) -> str:
    pairs = results["comparisons"]
    if not pairs:
        return ""
    measured = [name for name, card in results["metrics"].items() if card.get("status") != "not run"]
    rows = []
    for pair in pairs:
        title = f"{row_title(pair['first'])} - {row_title(pair['second'])}"
        for name in measured:
            cell, metric = pair["metrics"][name], results["metrics"][name]["title"]
            if cell["status"] == NOT_JUDGED:
                continue
            if cell["status"] == "not run":
                rows.append([title, metric, cell_text(cell, 3), *["-"] * 5])
                continue
            values = [cell["p_value"], cell.get("p_randomisation"), cell.get("p_holm")]
            numbers = ["-" if value is None else f"{value:.4f}" for value in values]
            overlap = "overlap" if cell["intervals_overlap"] else "apart"
            rows.append([title, metric, cell_text(cell, _decimals(results, name)), *numbers, verdict(cell), overlap])
    if not rows:
        return closed_sentence(results)
    header = ["systems", "metric", "difference (paired bootstrap)", "p, bootstrap", "p, randomisation", "Holm"]
    header += ["the first is", "own intervals"]
    remark = (
        "p values are two-sided: of the paired bootstrap, and of a paired randomisation test that swaps the two "
        f"systems utterance by utterance. Holm: the latter, adjusted for all pairs measured in the metric; "
        f'"better" and "worse" are said where it is below {SIGNIFICANT}.'
    )
    count = results["data"]["utterances"]
    if count < FEWEST:
        remark += (
            f" {count} utterances can be swapped in {2**count} ways, so that the randomisation p is at least "
            f"{2 / 2**count:.3f}: no difference can be shown with fewer than {FEWEST}."
        )
    table = markdown_table(header, rows)
    return "\n\n".join(part for part in ("## Comparisons", table, remark, closed_sentence(results)) if part)


def verdict(cell: Mapping) -> str:
    """What a paired difference (`statistics.compare`) shows of the first system; by Holm's p where there is one."""
    if cell.get("p_holm", cell["p_value"]) >= SIGNIFICANT:
        return "no difference shown"
    return "better" if cell["first_is_better"] else "worse"


def _provenance(results: Mapping) -> str:
    return "\n".join(provenance_lines(results.get("provenance", {})) + model_line(results))


def _error_kinds(results: Mapping) -> str:
    rows = error_rows(results, row_title)
    return f"## Kinds of errors\n\n{markdown_table(HEADER, rows)}" if rows else ""


def _verification(results: Mapping) -> str:
    if results.get("verification") is None:
        return ""
    rows = verification_rows(results)
    table = markdown_table(VERIFICATION_HEADER, rows) if rows else ""
    parts = ["## Speaker verification", table, verification_remark(results)]
    return "\n\n".join(part for part in parts if part)


def verification_rows(results: Mapping) -> list[list[str]]:
    """Cells of VERIFICATION_HEADER for every system; nothing where no EER was measured."""
    rows = []
    for system, cell in (results.get("verification") or {}).get("systems", {}).items():
        text, trials = cell_text(cell, 1), "-"
        if cell["status"] == "measured":
            text = f"{cell['value']:.1%} [{cell['low']:.1%}, {cell['high']:.1%}]"
            if rejected := len(cell.get("rejected", ())):
                text += f" ({rejected} without a voice: rejected)"
            trials = f"{cell['targets'] + cell['impostors']:,}"
            if left_out := len(cell.get("left_out", ())):
                trials += f" ({left_out} originals excluded: no voice)"
        rows.append([row_title(system), text, trials])
    return rows


def verification_remark(results: Mapping) -> str:
    """The trials, or why there are none; empty in files of before they were."""
    content = results.get("verification")
    if content is None:
        return ""
    if content["status"] == "not run":
        return f"{cell_text(content, 1)}."
    return (
        f"Enrolment: {content['enrolment']}; test: the system's audio. {content['speakers']} speakers, "
        f"{content['targets']:,} target and {content['impostors']:,} impostor trials (seed {content['seed']}); "
        f"intervals resample {content['resampled']}. {content['model']}, version {content['version']}, at "
        f"{content['sample_rate']} Hz. The row of the originals is what the encoder itself confuses. "
        "All trials of an utterance without a voice (silence) count as rejected, those of its speaker as misses."
    )
