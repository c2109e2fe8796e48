"""Voicing error: frames that are voiced in one signal and unvoiced in the other."""

import numpy as np

from sitok_espnet.evaluate.metrics.abs_metric import Measurement
from sitok_espnet.evaluate.metrics.abs_world_metric import AbsWorldMetric


class VoicingError(AbsWorldMetric):
    """Share of frames with another voicing decision than the original's, pooled over utterances.

    All frames count, pauses too (they are unvoiced). A silent or whispered copy errs on every voiced frame.
    """

    name = "vuv"
    title = "V/UV error"
    unit = "share of frames"
    decimals = 3
    model = AbsWorldMetric.pitch_tracker

    def compare(self, reference: np.ndarray, hypothesis: np.ndarray) -> Measurement:
        """Differing frames, and frames."""
        differ = (self._world.pitch(reference) > 0) != (self._world.pitch(hypothesis) > 0)
        return Measurement(float(np.count_nonzero(differ)), float(len(differ)))
