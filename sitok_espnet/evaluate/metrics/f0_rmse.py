"""F0 RMSE: how far the pitch is off where both signals have one."""

import numpy as np

from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.metrics.abs_metric import Measurement
from sitok_espnet.evaluate.metrics.abs_world_metric import AbsWorldMetric

FEWEST_FRAMES = 10  # 50 ms: fewer would count as much as a whole utterance


class F0RMSE(AbsWorldMetric):
    """Root mean square pitch error of an utterance in cents over frames voiced in both; the mean over utterances.

    Cents, 1200 log2(f / g), are the same for a low and a high voice; ESPnet's log-F0 RMSE is this number times
    ln 2 / 1200. The detail has the utterance's RMSE in Hz. A single octave error is 1,200 cents, so read it with the
    voicing error: frames whose voicing was lost do not count here.
    """

    name = "f0_rmse"
    title = "F0 RMSE"
    unit = "cents, frames voiced in both"
    decimals = 1
    model = AbsWorldMetric.pitch_tracker

    def compare(self, reference: np.ndarray, hypothesis: np.ndarray) -> Measurement:
        """RMSE in cents."""
        first, second = self._world.pitch(reference), self._world.pitch(hypothesis)
        both = (first > 0) & (second > 0)
        if np.count_nonzero(both) < FEWEST_FRAMES:
            raise NotMeasurable(f"fewer than {FEWEST_FRAMES} frames are voiced in both")
        first, second = first[both], second[both]
        cents = 1200.0 * np.log2(second / first)
        hertz = _rms(second - first)
        return Measurement(_rms(cents), detail=f"{hertz:.2f} Hz over {len(first)} frames")


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
