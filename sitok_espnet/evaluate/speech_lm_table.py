"""The part of RESULTS.md that is about a token language model: nothing where there is none."""

from collections.abc import Mapping

from sitok_espnet.evaluate.markdown import cell_text, markdown_table

MODELS = {
    "text": "language model, with the text",
    "other_text": "language model, with the text of another utterance",
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
    return "\n\n".join(
        [
            "## Language model",
            f"{content['parameters']:,} parameters, pattern {content['pattern']}, {content['text_size']} text pieces, "
            f"codebooks {' + '.join(map(str, content['codebook_sizes']))} at {content['frame_rate']} Hz; trained on "
            f"{content['training']['utterances']:,} utterances, {content['training']['codes']:,} codes.",
            *(_nats(name, held_out) for name, held_out in content["held_out"].items()),
            "### Generation",
            _status(content["generation"]),
            markdown_table(["real-time factor of generated speech", "value ↓"], speed_rows(content)),
            f"Seconds of computing a second of generated speech ({content['speed']['threads']} threads, "
            f"{content['speed']['device']}). Language model: in batches of {content['generation']['batch_size']}; "
            "decoder and vocoder: one utterance at a time, after one warm-up.",
        ]
    )


def _nats(name: str, held_out: Mapping) -> str:
    compared = {pair["second"]: pair for pair in held_out["comparisons"]}
    rows = []
    for model, cell in held_out["models"].items():
        pair = compared.get(model)
        p = f"{pair['p_value']:.4f}" if pair and pair["status"] == "measured" else "-"
        rows.append([MODELS[model], cell_text(cell, 3), cell_text(pair, 3) if pair else "-", p])
    header = [f"model, on {name}", "nats per code ↓", "first minus this (paired bootstrap)", "p"]
    remark = (
        f"{held_out['utterances']} utterances, {held_out['predictions']:,} predictions: every code and every end of "
        "speech, each among what may stand there."
    )
    return f"{markdown_table(header, rows)}\n\n{remark}"


def _status(generation: Mapping) -> str:
    counts = generation["counts"]
    settings = ", ".join(f"{key} {value}" for key, value in generation["sampling"].items())
    listed = ", ".join(f"{counts.get(status, 0)} {status}" for status in ("ended", "run-away", "empty"))
    remark = "A run-away was stopped at the longest allowed length; an empty one is scored as silence."
    return f"{sum(counts.values())} utterances: {listed}. {remark} Sampling: {settings}; seed {generation['seed']}."


def speed_rows(content: Mapping) -> list[list[str]]:
    """Part and real-time factor."""
    return [[title, cell_text(content["speed"][part], 3)] for part, title in PARTS.items()]
