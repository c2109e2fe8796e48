"""How long until something comes out: the first token of a stream and the first chunk of decoding (ours).

``first_audio`` is the first chunk of mel, final as it is, and its audio by a vocoder that sees nothing behind the
cross-fade. The end of that audio is not what decoding the whole would give: a vocoder looks up to
VOCODER_CONTEXT_FRAMES further (:mod:`sitok_espnet.chunked`). No interface streams the decoder yet.
"""

import time

import numpy as np

from sitok_espnet.chunked import token_layout
from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig

CHUNK_SECONDS = 1.0  # of the first chunk, without its look-ahead


def needed_samples(tokenizer: SiTok) -> dict[str, int]:
    """Samples that must be there before the first token, and before the first chunk of mel with its look-ahead."""
    layout, pad = token_layout(tokenizer, CHUNK_SECONDS), tokenizer.mel_config.pad
    return {
        "first_token": tokenizer.samples_per_token + pad,
        "first_audio": tokenizer.samples_per_token * (layout.chunk + layout.after) + pad,
    }


def describe(tokenizer: SiTok) -> dict:
    """What timing.json says of it: seconds of audio that each needs, and why there may be none."""
    needed = {part: samples / tokenizer.sample_rate for part, samples in needed_samples(tokenizer).items()}
    reasons = {"first_audio": f"no utterance has the {needed['first_audio']:.2f} s that it needs"}
    try:
        tokenizer.stream()
        reasons["first_token"] = f"no utterance has the {1000 * needed['first_token']:.0f} ms that it needs"
    except SiTokError as error:
        reasons["first_token"] = str(error)
    return {"chunk_seconds": CHUNK_SECONDS, "audio_seconds": needed, "not_run": reasons}


def time_first(tokenizer: SiTok, wav: np.ndarray, sampling: SamplingConfig, seed: int) -> dict[str, float | None]:
    """Seconds of computing for ``first_token`` and ``first_audio`` of samples (S,); None where S is too short.

    The first token: a stream is opened and given just the samples that complete it. The first audio: the samples of the
    chunk and its look-ahead are encoded, decoded, and the chunk with what is cross-faded is vocoded.
    """
    needed = needed_samples(tokenizer)
    seconds: dict[str, float | None] = dict.fromkeys(needed)
    if len(wav) >= needed["first_token"]:
        try:
            start = time.perf_counter()
            tokenizer.stream().push(wav[: needed["first_token"]], tokenizer.sample_rate)
            seconds["first_token"] = time.perf_counter() - start
        except SiTokError:
            pass  # :func:`describe` says why
    if len(wav) >= needed["first_audio"]:
        layout = token_layout(tokenizer, CHUNK_SECONDS)
        start = time.perf_counter()
        codes = tokenizer.analyze([wav[: needed["first_audio"]]], tokenizer.sample_rate)[0]
        chunk = codes[: layout.chunk + layout.after]
        mel = tokenizer.decode_mel([chunk], seed=seed, **vars(sampling))[0]
        samples = (layout.chunk + layout.fade) * tokenizer.samples_per_token
        tokenizer.vocode([mel], [samples])
        seconds["first_audio"] = time.perf_counter() - start
    return seconds
