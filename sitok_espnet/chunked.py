"""Decoding of long utterances in bounded memory: overlapping windows of tokens, cross-faded, then vocoded in pieces.

The decoder sees the whole utterance at once, so that its memory grows with the length. Here it sees a window: a chunk
of tokens with some context before and some look-ahead after it. Noise is sliced from the utterance's own draw by
absolute position (DESIGN section 6, promise 3); rotary positions start at 0 in every window, which no decoder could
tell, because attention depends on distances alone. Results differ from the whole decode, because what lies outside a
window is not seen; utterances of one window take the ordinary way, bit by bit.

Shapes: T tokens, N codebooks, k mel frames a token, M mel bins.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.prompts import Prompt, check_prompts
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig
from sitok_espnet.sitok.randomness import noise_blocks

if TYPE_CHECKING:
    from sitok_espnet.inference import SiTok

CONTEXT_SECONDS = 1.28
LOOK_AHEAD_SECONDS = 0.64
FADE_SECONDS = 0.32
VOCODER_SECONDS = 60.0  # Griffin-Lim holds about 4 MB a second
VOCODER_CONTEXT_FRAMES = 100  # Vocos of 30 layers sees 95 frames to each side
VOCODER_FADE_FRAMES = 10


@dataclass(frozen=True)
class Layout:
    """How a sequence is cut, in items (tokens or frames).

    chunk: items a window is there for. before: context. after: look-ahead, of which ``fade`` items are cross-faded with
    the next window; 1 <= fade <= after.
    """

    chunk: int
    before: int
    after: int
    fade: int

    def windows(self, total: int) -> list["Window"]:
        """Windows over ``total`` items. What is left after the last whole chunk and within its look-ahead joins it."""
        firsts = list(range(0, total, self.chunk))
        while len(firsts) > 1 and total - firsts[-1] <= self.after:
            firsts.pop()
        ends = [*firsts[1:], total]
        return [
            Window(max(0, first - self.before), min(total, end + self.after), first, min(total, end + self.fade))
            for first, end in zip(firsts, ends, strict=True)
        ]


@dataclass(frozen=True)
class Window:
    """Items start .. stop - 1 are computed, first .. last - 1 of them kept; the next window's first is last - fade."""

    start: int
    stop: int
    first: int
    last: int


def token_layout(tokenizer: "SiTok", chunk_seconds: float) -> Layout:
    """Chunks of at least one token; the constants above in whole tokens, rounded up."""
    number = isinstance(chunk_seconds, Real) and not isinstance(chunk_seconds, bool)
    if not (number and 0 < chunk_seconds < math.inf):
        raise SiTokError(f"chunk_seconds must be a positive number of seconds, or None, got {chunk_seconds!r}")

    def tokens(seconds: float) -> int:
        return math.ceil(seconds * tokenizer.frame_rate - 1e-9)

    return Layout(
        tokens(float(chunk_seconds)), tokens(CONTEXT_SECONDS), tokens(LOOK_AHEAD_SECONDS), tokens(FADE_SECONDS)
    )


def decode_in_chunks(
    tokenizer: "SiTok",
    codes: Sequence[np.ndarray],
    chunk_seconds: float,
    num_samples: Sequence[int] | None,
    sampling: SamplingConfig,
    seed: int,
    prompt: Sequence | None = None,
) -> list[np.ndarray]:
    """Checked codes (T, N) to waveforms; arguments as in ``SiTok.decode``. Long utterances are decoded one by one.

    A prompt of a long utterance goes before each of its windows.
    """
    layout = token_layout(tokenizer, chunk_seconds)
    if num_samples is None:
        num_samples = [len(item) * tokenizer.samples_per_token for item in codes]
    short = [index for index, item in enumerate(codes) if len(layout.windows(len(item))) == 1]
    prompts = check_prompts(tokenizer.model, prompt, codes)
    options = {**vars(sampling), "seed": seed}
    options["num_samples"] = [num_samples[index] for index in short]
    options["prompt"] = None if prompt is None else [prompt[index] for index in short]
    wavs = dict(zip(short, tokenizer.decode([codes[index] for index in short], **options), strict=True))
    for index in set(range(len(codes))) - set(short):
        mel = Reader(chunked_mel(tokenizer, codes[index], layout, sampling, seed, prompts[index]))
        wavs[index] = _vocode_long(tokenizer, mel, int(num_samples[index]))
    return [wavs[index] for index in range(len(codes))]


def chunked_mel(
    tokenizer: "SiTok",
    codes: np.ndarray,
    layout: Layout,
    sampling: SamplingConfig,
    seed: int,
    prompt: Prompt | None = None,
) -> Iterator[np.ndarray]:
    """(T, N) -> blocks of frames (f, M), natural log, kT in all. A chunk follows when its look-ahead is decoded."""
    k = tokenizer.stacking_factor
    noise = Reader(noise_blocks(seed, tokenizer.mel_config.n_mels))

    def pieces() -> Iterator[np.ndarray]:
        for window in layout.windows(len(codes)):
            draw = torch.from_numpy(noise.read(k * window.start, k * window.stop))
            mel = tokenizer.mel_from_noise([codes[window.start : window.stop]], draw, sampling, [prompt])[0]
            yield mel[k * (window.first - window.start) : k * (window.last - window.start)]

    return cross_fade(pieces(), k * layout.fade)


def _vocode_long(tokenizer: "SiTok", mel: "Reader", num_samples: int) -> np.ndarray:
    """Frames that the reader gives -> (num_samples,)."""
    hop = tokenizer.mel_config.hop_length
    wav = np.empty(num_samples, dtype=np.float32)
    written = 0
    for part in cross_fade(_vocoded(tokenizer, mel, -(-num_samples // hop)), hop * VOCODER_FADE_FRAMES):
        part = part[: num_samples - written]
        wav[written : written + len(part)] = part
        written += len(part)
    return wav


def _vocoded(tokenizer: "SiTok", mel: "Reader", frames: int) -> Iterator[np.ndarray]:
    """Waveforms of pieces of VOCODER_SECONDS, each without what the border spoils."""
    hop = tokenizer.mel_config.hop_length
    size = math.ceil(VOCODER_SECONDS * tokenizer.sample_rate / hop)
    after = VOCODER_FADE_FRAMES + VOCODER_CONTEXT_FRAMES
    for window in Layout(size, VOCODER_CONTEXT_FRAMES, after, VOCODER_FADE_FRAMES).windows(frames):
        wav = tokenizer.vocode([mel.read(window.start, window.stop)])[0]
        yield wav[hop * (window.first - window.start) : hop * (window.last - window.start)]


class Reader:
    """Slices of a long sequence that comes in blocks (n, ...): only what may still be asked for is held.

    Starts of successive slices must not decrease.
    """

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks = blocks
        self._held: list[np.ndarray] = []
        self._start = 0  # position of the first held item

    def read(self, start: int, stop: int) -> np.ndarray:
        """Items start .. stop - 1."""
        while self._held and self._start + len(self._held[0]) <= start:
            self._start += len(self._held.pop(0))
        end = self._start + sum(map(len, self._held))
        while end < stop:
            block = next(self._blocks)
            end += len(block)
            if end > start:
                self._held.append(block)
            else:
                self._start = end
        return np.concatenate(self._held)[start - self._start : stop - self._start]


def cross_fade(pieces: Iterator[np.ndarray], overlap: int) -> Iterator[np.ndarray]:
    """Join pieces (n, ...), n >= overlap, each of which begins ``overlap`` items before its predecessor ends.

    Linear: weights that rise in equal steps and sum to one. A single piece stays as it is.
    """
    rise = ((np.arange(overlap) + 0.5) / overlap).astype(np.float32)
    tail = None
    for piece in pieces:
        if tail is not None:
            weight = rise.reshape(-1, *[1] * (piece.ndim - 1))
            piece = np.concatenate((tail * (1 - weight) + piece[:overlap] * weight, piece[overlap:]))
        yield piece[:-overlap]
        tail = piece[-overlap:]
    if tail is not None:
        yield tail
