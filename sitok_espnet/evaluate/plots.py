"""Spectrogram pictures: one utterance, all systems stacked on the same axes and colour scale."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from sitok_espnet.audio import resample
from sitok_espnet.errors import SiTokError
from sitok_espnet.inputs import AudioInput
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.mel.log_mel import LogMel, hz_to_mel

TICKS_HZ = (500, 1000, 2000, 4000, 8000)
_RANGE = 9.0  # natural-log units on the colour scale (78 dB): below lies what nobody hears
_WIDTH_INCHES, _ROW_INCHES, _DPI = 12.0, 1.75, 100  # 1200 pixels wide


def log_mel(speech: np.ndarray, sample_rate: int) -> np.ndarray:
    """(S,) samples -> (F, 128) natural-log mel of the paper's analysis, resampled to 24 kHz where needed."""
    config = MelConfig()
    wav = torch.from_numpy(resample(speech, sample_rate, config.sample_rate))[None]
    with torch.no_grad():
        return LogMel()(wav, torch.tensor([wav.shape[1]]))[0][0].numpy()


def hz_to_bin(hz: float, config: MelConfig) -> float:
    """Position of a frequency on the axis of mel bins, 0 to n_mels."""
    low, high, here = (float(hz_to_mel(torch.tensor(value))) for value in (config.fmin, config.fmax, float(hz)))
    return (here - low) / (high - low) * config.n_mels


def level_range(mels: Sequence[np.ndarray]) -> tuple[float, float]:
    """Ends of the colour scale that pictures of several mels (F, 128) share."""
    everything, floor = np.concatenate(mels), MelConfig().log_floor
    # The floor fills the bins that a corpus does not reach: it must not eat the colour scale.
    above = everything[everything > floor + 0.5]
    low, high = np.quantile(above, [0.02, 0.999]) if above.size else (floor, 0.0)
    return max(float(low), float(high) - _RANGE), float(high)


def plot_systems(audio: Mapping[str, np.ndarray], sample_rate: int, title: str, path: Path) -> None:
    """Write a PNG with one spectrogram a system, in the order given.

    Args:
        audio: system -> (S,) samples of the same utterance.
        sample_rate: Hz.
        title: heading, may be long.
        path: file to write (atomically).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    config = MelConfig()
    mels = {name: log_mel(speech, sample_rate) for name, speech in audio.items()}
    low, high = level_range(list(mels.values()))
    seconds = max(len(mel) for mel in mels.values()) * config.hop_length / config.sample_rate

    figure = Figure(figsize=(_WIDTH_INCHES, 0.9 + _ROW_INCHES * len(mels)), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(mels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axis, (name, mel) in zip(axes, mels.items(), strict=True):
        extent = (0.0, len(mel) * config.hop_length / config.sample_rate, 0, config.n_mels)
        image = axis.imshow(
            mel.T, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, cmap="magma", interpolation="none"
        )
        axis.set_title(name.replace("_", " "), loc="left", fontsize=11, pad=3)
        axis.set_yticks([hz_to_bin(hz, config) for hz in TICKS_HZ], [f"{hz:,}" for hz in TICKS_HZ])
        axis.set_ylabel("Hz")
    axes[-1].set_xlim(0.0, seconds)
    axes[-1].set_xlabel("time (s)")
    figure.suptitle(title, fontsize=12, wrap=True)
    figure.colorbar(image, ax=list(axes), label="mel magnitude (natural log)", pad=0.01, aspect=40)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        figure.savefig(temporary, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def median_utterances(references: Sequence[AudioInput], count: int) -> list[AudioInput]:
    """Utterances for pictures: of medium length (the quantiles 1/(n+1), ... of duration), in order of id."""
    if count < 1 or not references:
        return []
    seconds = []
    for item in references:
        wav, rate = item.read()
        seconds.append((len(wav) / rate, item.utt, item))
    ranked = [item for *_, item in sorted(seconds, key=lambda entry: entry[:2])]
    picks = {math.floor(len(ranked) * number / (count + 1)) for number in range(1, count + 1)}
    return sorted((ranked[pick] for pick in picks), key=lambda item: item.utt)


def draw_utterances(
    references: Sequence[AudioInput],
    audio: Mapping[str, Mapping[str, AudioInput]],
    texts: Mapping[str, str],
    count: int,
    folder: Path,
) -> None:
    """Draw ``count`` utterances of medium length with all systems: ``<folder>/<utterance>.png``.

    Raises:
        SiTokError: a system's audio has another sampling rate than the first one's.
    """
    for item in median_utterances(references, count):
        waves, rates = {}, set()
        for system, utterances in audio.items():
            waves[system], rate = utterances[item.utt].read()
            rates.add(rate)
        if len(rates) > 1:
            raise SiTokError(f"utterance {item.utt}: the systems have different sampling rates: {sorted(rates)}")
        if waves:
            title = f"{item.utt}: {texts.get(item.utt, 'no transcript')}"
            plot_systems(waves, rates.pop(), title, folder / f"{item.utt}.png")
