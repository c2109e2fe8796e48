"""The part of RESULTS.md that is about a token language model: nothing where there is none."""

from collections.abc import Mapping

from sitok_espnet.evaluate.markdown import cell_text, markdown_table

MODELS = {
    "text": "language model, with the text",
    "other_text": "language model, with another text",
    "no_text": "language model, without text",
    "unigram": "unigram",
    "kneser_ney_frame": "Kneser-Ney bigram, history: the same codebook in the frame before",
    "kneser_ney_flat": "Kneser-Ney bigram, history: the code before",
}
PARTS = {"lm": "language model", "decoder": "decoder", "vocoder": "vocoder"}


def speech_lm_section(results: Mapping) -> str:
    """Heading and tables; empty where results.json has no language model."""
    content = results.get("speech_lm")
    if content is None:
        return ""
    tables = [_nats_table(name, held_out) for name, held_out in content["held_out"].items()]
    rest = markdown_table(["generation", "value"], _generation_rows(content))
    return "\n\n".join(["## Language model", *tables, rest, "\n".join(f"- {r}" for r in speech_lm_remarks(results))])


def _nats_table(name: str, held_out: Mapping) -> str:
    compared = {pair["second"]: pair for pair in held_out["comparisons"]}
    rows = []
    for model, cell in held_out["models"].items():
        pair = compared.get(model)
        p = f"{pair['p_value']:.4f}" if pair and pair["status"] == "measured" else "-"
        rows.append([MODELS[model], cell_text(cell, 3), cell_text(pair, 3) if pair else "-", p])
    header = [f"model, on {name}", "nats per code ↓", "the first minus this (paired bootstrap)", "p"]
    return markdown_table(header, rows)


def speech_lm_rows(results: Mapping) -> list[list[str]]:
    """Quantity and value, for a page: nats, status and speed; nothing where there is no language model."""
    content = results.get("speech_lm")
    if content is None:
        return []
    nats = [
        [f"nats per code of {name}: {MODELS[model]}", cell_text(cell, 3)]
        for name, held_out in content["held_out"].items()
        for model, cell in held_out["models"].items()
    ]
    return nats + _generation_rows(content)


def _generation_rows(content: Mapping) -> list[list[str]]:
    counts = content["generation"]["counts"]
    listed = ", ".join(f"{counts.get(status, 0)} {status}" for status in ("ended", "run-away", "empty"))
    speed = [[f"real-time factor, {title}", cell_text(content["speed"][part], 3)] for part, title in PARTS.items()]
    lengths = []
    if found := content["generation"].get("duration"):  # results of older versions have none
        of = f"of {found['utterances']}"
        text = (
            f"median {found['median']:.2f}; below 0.5: {found['below_half']} {of}; above 2: {found['above_twice']} {of}"
        )
        lengths = [["duration, generated / recorded", text]]
    return [["utterances", listed], *lengths, *speed]


def speech_lm_remarks(results: Mapping) -> list[str]:
    """What the numbers rest on."""
    content = results.get("speech_lm")
    if content is None:
        return []
    held_out = ", ".join(
        f"{name}: {item['utterances']} utterances, {item['predictions']:,} predictions"
        for name, item in content["held_out"].items()
    )
    generation, speed = content["generation"], content["speed"]
    settings = ", ".join(f"{key} {value}" for key, value in generation["sampling"].items())
    alone = ", ".join(
        f"{item['without_other_text']} of {name}"
        for name, item in content["held_out"].items()
        if "without_other_text" in item  # results of older versions paired anybody with anybody
    )
    partners = "Another text is that of another utterance of the same speaker in the same language, with other words"
    missing = ", ".join(f"{count} ({why})" for why, count in generation.get("left_out", {}).items())
    return [
        f"Language model {content['model_hash']} ({content['checkpoint']}): {content['parameters']:,} parameters, "
        f"pattern {content['pattern']}, {content['text_size']} text pieces, codebooks "
        f"{' + '.join(map(str, content['codebook_sizes']))} at {content['frame_rate']} Hz; trained on "
        f"{content['training']['utterances']:,} utterances, {content['training']['codes']:,} codes.",
        f"Predictions are all codes and ends of speech, each among what may stand there. {held_out}.",
        *([f"{partners}; the comparison is over utterances that have one, which leaves out {alone}."] if alone else []),
        *([f"Left out of the test set: {missing}."] if missing else []),
        f"Sampling: {settings}; seed {generation['seed']}. A run-away was stopped at max_frames, or "
        "before at max_length_ratio; an empty utterance is scored as silence, except by metrics that silence has no "
        "value of (SIM): those average over what was said.",
        f"Real-time factor: seconds of computing a second of generated speech, {speed['device']}. Language model: "
        f"empty utterances included, {speed['lm_threads']} threads, batches of {generation['batch_size']}; decoder and "
        f"vocoder: {speed['threads']} threads, one utterance at a time after a warm-up.",
    ]
