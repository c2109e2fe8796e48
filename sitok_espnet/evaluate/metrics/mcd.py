"""MCD: mel-cepstral distance of WORLD's spectral envelopes."""

import math

import numpy as np

from sitok_espnet.evaluate.metrics.abs_metric import Measurement
from sitok_espnet.evaluate.metrics.abs_world_metric import AbsWorldMetric
from sitok_espnet.evaluate.world import World

ORDER = 24
ALPHA = 0.42  # the all-pass constant that is closest to the mel scale at 16 kHz
RANGE_DB = 40.0


def mel_cepstrum_matrix(bins: int, order: int = ORDER, alpha: float = ALPHA) -> np.ndarray:
    """(bins, order): log amplitudes at 0 .. pi -> mel-cepstral coefficients c_1 .. c_order.

    ln|H(w)| = c_0 + sum_m c_m cos(m w~) on the warped axis w~ = w + 2 atan(alpha sin w / (1 - alpha cos w)), so
    c_m = 2/pi * integral over 0 .. pi of ln|H| cos(m w~) (dw~/dw) dw. The integrand is even and periodic, where the
    trapezoidal rule is at its best: it agrees with SPTK (``sp2mc``) to rounding.
    """
    w = np.linspace(0.0, np.pi, bins)
    warped = w + 2.0 * np.arctan2(alpha * np.sin(w), 1.0 - alpha * np.cos(w))
    weight = (1.0 - alpha**2) / (1.0 + alpha**2 - 2.0 * alpha * np.cos(w)) * 2.0 / (bins - 1)
    weight[[0, -1]] /= 2.0
    return np.cos(np.outer(warped, np.arange(1, order + 1))) * weight[:, None]


class MelCepstralDistance(AbsWorldMetric):
    """10 sqrt(2) / ln 10 * sqrt(sum over m = 1 .. 24 of (c_m - c'_m)^2) in dB, mean over the frames with speech.

    By Parseval that is the RMS difference of two log spectra along the warped axis, smoothed to 24 coefficients and
    without its mean: c_0, the level, is left out, so that a gain changes nothing. Frames count, voiced or not, where
    the original's power is within 40 dB of its loudest frame (the range of STOI): pauses of recordings differ by what
    nobody hears. Frames are pooled over utterances. CheapTrick smooths by each signal's own pitch, and by 500 Hz where
    it is unvoiced, so a lost voicing costs something here too. Numbers of other analyses (other rate, order, DTW) do
    not compare.
    """

    name = "mcd"
    title = "MCD"
    unit = "dB"
    decimals = 2
    model = f"WORLD (CheapTrick, every 5 ms), c1-c{ORDER}, alpha {ALPHA}, no DTW, frames within {RANGE_DB:.0f} dB"

    def __init__(self, world: World):
        super().__init__(world)
        self._scale = 10.0 * math.sqrt(2.0) / math.log(10.0)

    def compare(self, reference: np.ndarray, hypothesis: np.ndarray) -> Measurement:
        """Sum of the frames' distances, and the number of frames."""
        first, second = self._world.envelope(reference), self._world.envelope(hypothesis)
        level = 10.0 * np.log10(first.sum(axis=1))
        loud = level > level.max() - RANGE_DB
        log_ratio = 0.5 * np.log(second[loud] / first[loud])  # of amplitudes: half of that of powers
        difference = log_ratio @ mel_cepstrum_matrix(first.shape[1])
        return Measurement(self._scale * float(np.sqrt((difference**2).sum(axis=1)).sum()), float(loud.sum()))
