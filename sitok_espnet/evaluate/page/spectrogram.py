"""Spectrograms as small pictures; the page draws their axes, which so stay legible at any width (ours)."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sitok_espnet.evaluate.page.audio import data_uri
from sitok_espnet.evaluate.plots import TICKS_HZ, hz_to_bin, level_range, log_mel
from sitok_espnet.sitok.mel.config import MelConfig

_COLOURS = 255  # the last entry of the palette is where an utterance has ended before others
_ENDED = (236, 239, 242)


@dataclass(frozen=True)
class Tick:
    """A label at a place on an axis, in percent of its length."""

    label: str
    percent: float


@dataclass(frozen=True)
class Pictures:
    """Spectrograms of one utterance by several systems, all on the same axes and level scale.

    Attributes:
        uris: a PNG each.
        seconds: length of the time axis.
        times, frequencies: ticks; frequencies from the bottom, in kHz.
    """

    uris: tuple[str, ...]
    seconds: float
    times: tuple[Tick, ...]
    frequencies: tuple[Tick, ...]


def draw_spectrograms(waves: Sequence[tuple[np.ndarray, int]]) -> Pictures:
    """Draw (samples (S,), sampling rate) of several systems; shorter ones end earlier on the common time axis."""
    config = MelConfig()
    mels = [log_mel(wav, rate) for wav, rate in waves]
    low, high = level_range(mels)
    frames = max(len(mel) for mel in mels)
    seconds = frames * config.hop_length / config.sample_rate
    return Pictures(
        tuple(data_uri(_picture(mel, low, high, frames), "image/png") for mel in mels),
        seconds,
        time_ticks(seconds),
        # Without the first: on so low a picture it would touch the second.
        tuple(Tick(f"{hz / 1000:g}", hz_to_bin(hz, config) / config.n_mels * 100) for hz in TICKS_HZ[1:]),
    )


def time_ticks(seconds: float) -> tuple[Tick, ...]:
    """At most six round numbers from 0 on that lie on the axis."""
    least = seconds / 5
    decade = 10.0 ** math.floor(math.log10(least))
    step = next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= least * (1 - 1e-9))
    count = math.floor(seconds / step + 1e-9) + 1
    return tuple(Tick(f"{number * step:g}", min(100.0, number * step / seconds * 100)) for number in range(count))


def _picture(mel: np.ndarray, low: float, high: float, frames: int) -> bytes:
    """(F, 128) -> a PNG of ``frames`` x 128 pixels with a palette."""
    from matplotlib import colormaps
    from PIL import Image

    levels = np.clip((mel - low) / max(high - low, 1e-6), 0.0, 1.0) * (_COLOURS - 1)
    pixels = np.full((frames, mel.shape[1]), _COLOURS, dtype=np.uint8)
    pixels[: len(mel)] = np.rint(levels)
    image = Image.fromarray(np.ascontiguousarray(pixels.T[::-1]))
    colours = (colormaps["magma"](np.linspace(0.0, 1.0, _COLOURS))[:, :3] * 255).round().astype(np.uint8)
    image.putpalette([*colours.ravel().tolist(), *_ENDED])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
