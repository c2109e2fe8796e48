"""How long a listener waits, in milliseconds: what the algorithm needs, and what this machine took (ours)."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.config import MelConfig

PERCENTILE = 95
PARTS = ("encode", "decode", "vocoder")
FIRST = ("first_token", "first_audio")


def algorithmic_ms(frame_rate: str | Fraction, timing: Mapping | None = None) -> dict:
    """What must have been said before something can come out, in ms; computing time comes on top (docs/streaming.md).

    ``token``: from the first sample of a token until the encoder can compute it: its length and half the overlap of the
    analysis windows (DESIGN section 8), 80 + 30 at 12.5 Hz. ``first_audio``: where timing.json was made with one, the
    first chunk of mel of ``chunk_seconds``, its look-ahead and the same overlap, without the context behind it that a
    vocoder may look at. Whole decoding needs the whole utterance.
    """
    config = MelConfig()
    token = 1000 / Fraction(frame_rate) + Fraction(1000 * config.pad, config.sample_rate)
    chunk = (timing or {}).get("first_chunk")
    return {
        "token": float(token),
        "first_audio": 1000.0 * chunk["audio_seconds"]["first_audio"] if chunk else None,
        "chunk_seconds": chunk["chunk_seconds"] if chunk else None,
    }


def computing_ms(timing: Mapping) -> dict:
    """Median and 95th percentile over utterances of timing.json (seconds), each alone in its batch.

    ``encode``, ``decode``, ``vocoder`` and ``total`` are of whole utterances, whose lengths are ``audio``;
    ``first_token`` and ``first_audio``: see :mod:`sitok_espnet.evaluate.first_chunk`.

    Raises:
        SiTokError: no utterance was timed.
    """
    utterances: Sequence[Mapping] = [timing["utterances"][utt] for utt in sorted(timing["utterances"])]
    if not utterances:
        raise SiTokError("no utterance was timed")
    seconds = {part: [item[part] for item in utterances] for part in PARTS}
    seconds["total"] = [sum(item[part] for part in PARTS) for item in utterances]
    cells = {part: _summary(values) for part, values in seconds.items()}
    for part in FIRST:
        measured = [item[part] for item in utterances if item.get(part) is not None]
        if measured:
            cells[part] = _summary(measured)
        else:
            reason = timing.get("first_chunk", {}).get("not_run", {}).get(part)
            reason = reason or "timing.json has none: remove it and run sitok_synth_systems again"
            cells[part] = {"status": "not run", "reason": reason}
    return cells | {"audio": _summary([item["audio"] for item in utterances])}


def _summary(seconds: Sequence[float]) -> dict:
    values = 1000.0 * np.asarray(seconds)
    return {
        "status": "measured",
        "median": float(np.median(values)),
        f"percentile_{PERCENTILE}": float(np.percentile(values, PERCENTILE)),
        "count": len(values),
    }
