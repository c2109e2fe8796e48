"""The part of RESULTS.md that is about a tokenizer: nothing where there is none."""

from collections.abc import Mapping

from sitok_espnet.evaluate.markdown import cell_text, machine_text, markdown_table, steps_text

PERCENTILE = "percentile_95"
MOSTLY = 0.5  # of the pairs seen once: the conditional entropy says how small the sample is


def tokenizer_section(results: Mapping) -> str:
    """Heading, table and what it rests on; empty where results.json has no tokenizer."""
    if results.get("tokenizer") is None:
        return ""
    table = markdown_table(["quantity", "value"], tokenizer_rows(results))
    return "\n\n".join(["## Tokenizer", table, *tokenizer_remarks(results)])


def tokenizer_rows(results: Mapping) -> list[list[str]]:
    """Quantity and value: what the tokens carry, how they use the codebook, bit rate, speed and latency."""
    return [*_ctc(results), *_codebook(results), *_speed(results), *_latency(results)]


def _ctc(results: Mapping) -> list[list[str]]:
    return [
        ["CTC decoder, CER", cell_text(results["ctc"]["cer"], 3)],
        ["CTC decoder, WER", cell_text(results["ctc"]["wer"], 3)],
    ]


def _codebook(results: Mapping) -> list[list[str]]:
    rows = []
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
        rows += _entropy(use.get("entropy_rate"), title)
    bits = results["bits_per_second"]
    if bits["status"] == "measured":
        sizes = " + ".join(f"log2({size:,})" for size in bits["codebook_sizes"])
        rows.append(["bits per second", f"{bits['value']:.1f} = {bits['frame_rate']} x ({sizes})"])
    else:
        rows.append(["bits per second", cell_text(bits, 1)])
    return rows


def _entropy(rate: Mapping | None, title: str) -> list[list[str]]:
    """Bits a second of the tokens as they come; files of before this was measured have none."""
    if rate is None:
        return []
    names = [f"entropy rate, {title}", f"entropy rate given the token before, {title}"]
    if rate["status"] == "not run":
        return [[name, cell_text(rate, 1)] for name in names]
    plain = (
        f"{rate['bits_per_second']:.1f} bits/s of {rate['nominal_bits_per_second']:.1f} nominal "
        f"({_listed(rate['bits_per_token'])} bits a token; corrected for few tokens "
        f"{_listed(rate['corrected_bits_per_token'])})"
    )
    once = ", ".join(f"{share:.0%}" for share in rate["pairs_seen_once"])
    details = f"{rate['conditional_bits_per_second']:.1f} bits/s "
    details += f"({_listed(rate['conditional_bits_per_token'])} bits a token; "
    if rate["half_conditional_bits_per_token"]:
        details += f"on half of the utterances {_listed(rate['half_conditional_bits_per_token'])}; "
    details += f"{rate['pairs']:,} pairs, seen once: {once})"
    # A number that only counts the sample must not be quoted as one of the tokens.
    meaningless = max(rate["pairs_seen_once"]) > MOSTLY
    given = f"no estimate: too few tokens; counted {details}" if meaningless else details
    return [[names[0], plain], [names[1], given]]


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _speed(results: Mapping) -> list[list[str]]:
    rows = []
    speed = results["speed"]
    for part, title in (("encode", "encode"), ("decode", "decode (tokens to mel)"), ("vocoder", "vocoder")):
        name = f"real-time factor, {title}"
        if speed["status"] == "not run":
            rows.append([name, cell_text(speed, 3)])
        else:
            steps = f", {steps_text(speed['steps'], speed.get('temperature'))}" if part == "decode" else ""
            rows.append([name, cell_text({"status": "measured", **speed[part]}, 4) + steps])
    return rows


def _latency(results: Mapping) -> list[list[str]]:
    latency = results.get("latency")
    if latency is None:
        return []
    if latency["status"] == "not run":
        return [["latency", cell_text(latency, 1)]]
    must, took = latency["algorithmic"], latency["computing"]
    rows = [["latency of a token, algorithmic", f"{must['token']:.0f} ms"]]
    if must["first_audio"] is not None:
        text = f"{must['first_audio']:.0f} ms (a chunk of {must['chunk_seconds']:g} s and its look-ahead)"
        rows.append(["latency of the first chunk of mel, algorithmic", text])
    titles = {
        "first_token": "computing a stream's first token",
        "first_audio": "computing the first chunk: mel, and audio without later context",
        "total": "computing a whole utterance (encode, decode, vocoder)",
    }
    for part, title in titles.items():
        cell = took if took["status"] == "not run" else took[part]
        rows.append([title, _milliseconds(cell)])
    return rows


def _milliseconds(cell: Mapping) -> str:
    if cell["status"] == "not run":
        return cell_text(cell, 0)
    return f"median {cell['median']:.1f} ms, 95th percentile {cell[PERCENTILE]:.1f} ms ({cell['count']} utterances)"


def tokenizer_remarks(results: Mapping) -> list[str]:
    """What the values of :func:`tokenizer_rows` rest on."""
    remarks, latency, speed = [], results.get("latency"), results["speed"]
    if any((use.get("entropy_rate") or {}).get("status") == "measured" for use in results["codebook"].values()):
        remarks.append(
            "Entropy rates are counted on the tokens they are of (plug-in estimates), codebook by codebook as if these "
            "were independent: too low where tokens are few for the codebook, which is where half of the utterances "
            "give clearly less or most pairs are seen once."
        )
    if speed["status"] == "measured":
        remarks.append(
            f"Real-time factor: seconds of computing a second of audio; {speed['batch']}, on "
            f"{speed['device']} with {speed['threads']} threads ({machine_text(speed['machine'])})."
        )
    if latency and latency["status"] == "measured" and latency["computing"]["status"] == "measured":
        audio = latency["computing"]["audio"]
        remarks.append(
            "Algorithmic latency: what must have been said before something can come out; computing comes on top, "
            f"measured on the same machine and threads, on utterances of {audio['median'] / 1000:.1f} s in the median. "
            "Decoding is not causal: without chunks it waits for the whole utterance."
        )
    return remarks


def model_line(results: Mapping) -> list[str]:
    """The line of the provenance that names the model; none where there is no tokenizer."""
    text = model_text(results)
    return [f"- model: {text}"] if text else []


def model_text(results: Mapping) -> str:
    """Hashes, size and vocoder of the scored model in one phrase; empty where there is no tokenizer."""
    card = results.get("tokenizer")
    if card is None:
        return ""
    if card["status"] == "not run":
        return cell_text(card, 0)
    return (
        f"{card['model_hash']} ({card['checkpoint']} checkpoint, {card['parameters']:,} parameters), "
        f"configuration {card['config_hash']}, mel {card['mel_hash']}, vocoder {card['vocoder']}"
    )


def closed_sentence(results: Mapping) -> str:
    """How much of the way from untrained to copy synthesis the training went."""
    closed = results.get("mel_distance_closed")
    if closed is None:
        return ""
    if closed["status"] == "measured":
        way = f"{closed['value']:.1%} [{closed['low']:.1%}, {closed['high']:.1%}]"
    else:
        way = cell_text(closed, 3)
    return f"Share of the way from untrained to copy synthesis that training closes, in mel distance: {way}."
