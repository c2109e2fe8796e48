"""Random changes of the training waveform (ours; the paper has two million hours instead).

One voice becomes several by resampling (speed and pitch together), and microphone, room level and channel vary by
gain, equaliser and noise. The changed waveform is input and target alike: the tokenizer learns to reconstruct what it
hears, so noise is learned too and is best kept low.

Every utterance has a generator of its own (sitok_espnet/draws.py): a resumed training draws what the uninterrupted one
would have drawn, and the processes of a distributed one draw differently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.signal import resample_poly, sosfilt

from sitok_espnet.draws import utterance_generator
from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.distributed import rank


def _log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return math.exp(random.uniform(math.log(low), math.log(high)))


@dataclass(frozen=True)
class Speed:
    """Speed and pitch changed together by resampling: `factor` 1.1 is a tenth faster and 1.65 semitones higher.

    Factors are whole hundredths from `minimum` to `maximum`, all equally likely. A fast utterance has fewer tokens for
    its transcript: one that no longer fits is left out of the CTC loss.
    """

    probability: float = 1.0
    minimum: float = 0.85
    maximum: float = 1.2

    def check(self) -> None:
        _check_range("speed", "minimum", self.minimum, "maximum", self.maximum, 0.5, 2.0)
        if math.ceil(round(100 * self.minimum, 6)) > math.floor(round(100 * self.maximum, 6)):
            raise SiTokError(
                f"augment_conf: speed: no whole hundredth from minimum {self.minimum} to maximum {self.maximum}"
            )

    def __call__(self, wav: np.ndarray, sample_rate: int, random: np.random.Generator) -> np.ndarray:
        first, last = math.ceil(round(100 * self.minimum, 6)), math.floor(round(100 * self.maximum, 6))
        return change_speed(wav, int(random.integers(first, last + 1)))


@dataclass(frozen=True)
class Equalizer:
    """A low shelf, a high shelf and `peaks` peaks, each of up to `gain_db` up or down."""

    probability: float = 0.8
    peaks: int = 2
    gain_db: float = 6.0

    def check(self) -> None:
        if isinstance(self.peaks, bool) or self.peaks != int(self.peaks) or not 0 <= self.peaks <= 10:
            raise SiTokError(f"augment_conf: equalizer: peaks must be a whole number from 0 to 10, not {self.peaks}")
        _check_range("equalizer", "0", 0.0, "gain_db", self.gain_db, 0.0, 30.0)

    def __call__(self, wav: np.ndarray, sample_rate: int, random: np.random.Generator) -> np.ndarray:
        # Corners as shares of the Nyquist frequency, to exist at any rate (low shelf at 24 kHz: 80 to 400 Hz).
        nyquist = sample_rate / 2

        def section(kind: str, low: float, high: float, q: float) -> np.ndarray:
            hertz = _log_uniform(random, low * nyquist, high * nyquist)
            return biquad(kind, hertz, random.uniform(-self.gain_db, self.gain_db), q, sample_rate)

        sections = [
            section("low_shelf", 1 / 150, 1 / 30, math.sqrt(0.5)),
            section("high_shelf", 1 / 4, 2 / 3, math.sqrt(0.5)),
            *(section("peak", 1 / 60, 1 / 2, _log_uniform(random, 0.5, 2.0)) for _ in range(int(self.peaks))),
        ]
        return sosfilt(np.stack(sections), wav)  # float64: poles this near the unit circle need it


@dataclass(frozen=True)
class Noise:
    """White noise from `minimum_snr_db` to `maximum_snr_db` below the utterance's mean power; none on silence."""

    probability: float = 0.3
    minimum_snr_db: float = 30.0
    maximum_snr_db: float = 60.0

    def check(self) -> None:
        _check_range("noise", "minimum_snr_db", self.minimum_snr_db, "maximum_snr_db", self.maximum_snr_db, 0.0, 120.0)

    def __call__(self, wav: np.ndarray, sample_rate: int, random: np.random.Generator) -> np.ndarray:
        level = math.sqrt(float(np.mean(np.square(wav, dtype=np.float64))))
        level *= 10 ** (-random.uniform(self.minimum_snr_db, self.maximum_snr_db) / 20)
        return wav + level * random.standard_normal(len(wav)).astype(wav.dtype)


@dataclass(frozen=True)
class Gain:
    """A factor from `minimum_db` to `maximum_db`, uniform in dB."""

    probability: float = 1.0
    minimum_db: float = -10.0
    maximum_db: float = 3.0

    def check(self) -> None:
        _check_range("gain", "minimum_db", self.minimum_db, "maximum_db", self.maximum_db, -60.0, 60.0)

    def __call__(self, wav: np.ndarray, sample_rate: int, random: np.random.Generator) -> np.ndarray:
        return wav * 10 ** (random.uniform(self.minimum_db, self.maximum_db) / 20)


# In the order in which they are applied.
EFFECTS = {"speed": Speed, "equalizer": Equalizer, "noise": Noise, "gain": Gain}


def change_speed(wav: np.ndarray, hundredths: int) -> np.ndarray:
    """(S,) -> (ceil(100 S / hundredths),) at the same rate, played hundredths / 100 times as fast."""
    if hundredths == 100:
        return wav
    shared = math.gcd(100, hundredths)
    return resample_poly(wav, 100 // shared, hundredths // shared)


def biquad(kind: str, hertz: float, gain_db: float, q: float, sample_rate: int) -> np.ndarray:
    """One second-order section (b0, b1, b2, 1, a1, a2) of an equaliser, by the bilinear transform.

    kind: "peak" (gain_db at `hertz`, 0 dB far from it), "low_shelf" (gain_db below, 0 dB above) or "high_shelf".
    With A = 10^(gain_db / 40) the analogue prototypes, at s = 1 for `hertz`, are
    peak: (s^2 + s A/q + 1) / (s^2 + s/(A q) + 1), low shelf: A (s^2 + s sqrt(A)/q + A) / (A s^2 + s sqrt(A)/q + 1),
    high shelf: A (A s^2 + s sqrt(A)/q + 1) / (s^2 + s sqrt(A)/q + A).
    """
    amplitude = 10 ** (gain_db / 40)
    slope = math.sqrt(amplitude) / q
    if kind == "peak":
        numerator, denominator = (1.0, amplitude / q, 1.0), (1.0, 1 / (amplitude * q), 1.0)
    elif kind == "low_shelf":
        numerator, denominator = (amplitude, amplitude * slope, amplitude**2), (amplitude, slope, 1.0)
    else:
        numerator, denominator = (amplitude**2, amplitude * slope, amplitude), (1.0, slope, amplitude)
    # s = (1 - z^-1) / (k (1 + z^-1)) with k = tan(w0 / 2) puts s = i at `hertz`.
    k = math.tan(math.pi * hertz / sample_rate)

    def digital(c2: float, c1: float, c0: float) -> np.ndarray:
        return np.array([c2 + c1 * k + c0 * k * k, 2 * (c0 * k * k - c2), c2 - c1 * k + c0 * k * k])

    b, a = digital(*numerator), digital(*denominator)
    return np.concatenate([b, a]) / a[0]


class Augmentation:
    """`augment_conf` of a training: effect -> its options; an effect that is not named is off.

    Call it with float (S,) in [-1, 1] and a generator; it returns float32 (S',) in [-1, 1]. What an effect lifts above
    full scale is scaled back as a whole, not clipped: clipping would be one more distortion to learn.
    """

    def __init__(self, conf: Mapping[str, Any], sample_rate: int) -> None:
        if unknown := sorted(set(conf) - set(EFFECTS)):
            raise SiTokError(
                f"augment_conf has unknown keys: {', '.join(unknown)}; legal keys are {', '.join(EFFECTS)}"
            )
        self.sample_rate = sample_rate
        self.effects = [_build(name, conf[name]) for name in EFFECTS if conf.get(name) is not None]

    def __call__(self, wav: np.ndarray, random: np.random.Generator) -> np.ndarray:
        wav = np.asarray(wav, dtype=np.float32)
        for effect in self.effects:
            if len(wav) and random.random() < effect.probability:
                wav = effect(wav, self.sample_rate, random)
        peak = float(np.abs(wav).max(initial=0.0))
        if peak > 1.0:
            wav = wav / peak
        return wav.astype(np.float32, copy=False)


class SpeechPreprocessor:
    """ESPnet's preprocessor of one utterance: augments `speech`, then hands on to the text's preprocessor, if any."""

    def __init__(self, augmentation: Augmentation, text_preprocessor=None) -> None:
        self.augmentation = augmentation
        self.text_preprocessor = text_preprocessor
        self.rank = rank()

    def __call__(self, uid: str, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        data = {**data, "speech": self.augmentation(data["speech"], utterance_generator(uid, self.rank))}
        return data if self.text_preprocessor is None else self.text_preprocessor(uid, data)


def _build(name: str, options: Any):
    """One effect from its options, checked."""
    kind = EFFECTS[name]
    legal = [field.name for field in fields(kind)]
    if not isinstance(options, Mapping):
        raise SiTokError(
            f"augment_conf: {name} must have its options below it ({', '.join(legal)}; {{}} for the usual ones, null "
            f"to switch it off), not {options!r}"
        )
    if unknown := sorted(set(options) - set(legal)):
        raise SiTokError(
            f"augment_conf: {name} has unknown keys: {', '.join(unknown)}; legal keys are {', '.join(legal)}"
        )
    for key, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SiTokError(f"augment_conf: {name}: {key} must be a number, not {value!r}")
    effect = kind(**options)
    if not 0 <= effect.probability <= 1:
        raise SiTokError(f"augment_conf: {name}: probability must be from 0 to 1, not {effect.probability}")
    effect.check()
    return effect


def _check_range(name: str, low_key: str, low: float, high_key: str, high: float, least: float, most: float) -> None:
    if not least <= low <= high <= most:
        raise SiTokError(
            f"augment_conf: {name}: {least:g} <= {low_key} <= {high_key} <= {most:g} is needed, "
            f"not {low:g} and {high:g}"
        )
