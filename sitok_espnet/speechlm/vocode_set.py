"""Tokens of a test set to audio, a folder a row of the score table (ours).

resynthesis   the tokens of the recording itself: what tokenizer and vocoder allow
generated     those of the language model
prompt_copy   those of the prompt, as they are: the right voice, the wrong words
"""

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from sitok_espnet.audio import write_audio
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, read_transcripts, write_json, write_table
from sitok_espnet.evaluate.synthesis import CLIPPED, SETTINGS, TIMING
from sitok_espnet.inference import SiTok
from sitok_espnet.speechlm.generate_set import PROMPT_CODES, STATUS
from sitok_espnet.speechlm.generation import EMPTY
from sitok_espnet.tokens import open_tokens, read_places

RESYNTHESIS, GENERATED, PROMPT_COPY = "resynthesis", "generated", "prompt_copy"
ROWS = (RESYNTHESIS, GENERATED, PROMPT_COPY)
CODES = "codes"  # in settings.json of a row: what it is the audio of
SILENCE = 0.5  # seconds that stand for an empty utterance: nothing was said, and every word counts as missing


@dataclass(frozen=True)
class Decoding:
    """Options of SiTok.decode."""

    steps: int | None = None
    cfg_scale: float = 0.0
    seed: int = 0
    temperature: float | None = None


def read_rows(data_dir: Path, generated: Path, codes_hash: str) -> dict[str, dict[str, np.ndarray]]:
    """row -> utterance -> codes (T, N); T = 0 where the language model said nothing.

    ``codes_hash``: of the tokenizer whose tokens these must be.

    Raises:
        SiTokError: tokens of another tokenizer, or rows of different utterances.
    """
    tokens = open_tokens(generated)
    if tokens.manifest["codes_hash"] != codes_hash:
        raise SiTokError(
            f"{generated} holds tokens of another tokenizer (codes_hash {tokens.manifest['codes_hash']}) than "
            f"{codes_hash}: give the --tokenizer that made them"
        )
    empty = np.empty((0, tokens.manifest["num_codebooks"]), dtype=np.int64)
    status = read_transcripts(generated / STATUS)
    rows = {
        RESYNTHESIS: read_places(data_dir / "codes.scp", codes_hash),
        GENERATED: {**{utt: empty for utt, what in status.items() if what == EMPTY}, **dict(tokens)},
        PROMPT_COPY: read_places(data_dir / PROMPT_CODES, codes_hash),
    }
    for row, codes in rows.items():
        if codes.keys() != rows[RESYNTHESIS].keys():
            raise SiTokError(f"{row} and {data_dir} have different utterances: run stages 2 and 6 again")
    return rows


def vocode_set(
    tokenizer: SiTok,
    rows: Mapping[str, Mapping[str, np.ndarray]],
    output: Path,
    decoding: Decoding,
    samples: Mapping[str, int] | None = None,
) -> None:
    """Write ``output/<row>/wav.scp`` and its audio, one utterance at a time, timed; finished rows are kept.

    Args:
        tokenizer: whose tokens these are.
        rows: see `read_rows`.
        output: folder of the rows.
        decoding: how tokens become audio.
        samples: exact lengths of the recordings, for the resynthesis.
    """
    for row, codes in rows.items():
        folder = output / row
        settings = {
            "model_hash": tokenizer.model_hash,
            "vocoder": tokenizer.vocoder.identity,
            "seed": decoding.seed,
            **vars(tokenizer.sampling(**vars(decoding))),
            CODES: hash_codes(codes),
            "device": str(tokenizer.device),
            "threads": torch.get_num_threads(),
        }
        if (folder / "wav.scp").is_file() and read_json(folder / SETTINGS) == settings:
            logging.info("%s: finished, kept", folder)
            continue
        for stale in ("wav.scp", CLIPPED):
            (folder / stale).unlink(missing_ok=True)
        lengths = samples if row == RESYNTHESIS else None
        first = max(codes.values(), key=len)
        if len(first):
            _decode(tokenizer, first, decoding, None)  # warm-up: the first call of a process is slower
        places, timings, clipped = {}, {}, {}
        for utt in tqdm(sorted(codes), desc=row, unit="utt", mininterval=1.0):
            wav, seconds = _decode(tokenizer, codes[utt], decoding, lengths[utt] if lengths else None)
            places[utt] = str(folder / "wav" / f"{utt}.wav")
            if count := write_audio(places[utt], wav, tokenizer.sample_rate):
                clipped[utt] = str(count)
            if seconds:
                timings[utt] = seconds
        if clipped:
            write_table(folder / CLIPPED, clipped)
        write_json(folder / TIMING, timings)
        write_json(folder / SETTINGS, settings)
        write_table(folder / "wav.scp", places)  # last: its presence means finished


def _decode(
    tokenizer: SiTok, codes: np.ndarray, decoding: Decoding, samples: int | None
) -> tuple[np.ndarray, dict[str, float] | None]:
    """Audio (S,) and seconds of the parts; silence for no codes."""
    if not len(codes):
        return np.zeros(int(SILENCE * tokenizer.sample_rate), dtype=np.float32), None
    start = time.perf_counter()
    mels = tokenizer.decode_mel([codes], **vars(decoding))
    decoded = time.perf_counter()
    (wav,) = tokenizer.vocode(mels, [samples] if samples else None)
    done = time.perf_counter()
    audio = len(wav) / tokenizer.sample_rate
    return wav, {"audio": audio, "decoder": decoded - start, "vocoder": done - decoded}


def hash_codes(codes: Mapping[str, np.ndarray]) -> str:
    """16 hex digits of utterances and their codes (T, N)."""
    digest = hashlib.sha256()
    for utt in sorted(codes):
        digest.update(f"{utt} {codes[utt].shape}\n".encode() + np.ascontiguousarray(codes[utt]).tobytes())
    return digest.hexdigest()[:16]
