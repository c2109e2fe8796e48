"""What the metrics on WORLD's analysis have in common: equal lengths, one rate, one shared analyser."""

from abc import abstractmethod

import numpy as np

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample
from sitok_espnet.evaluate.metrics.alignment import require_equal_length
from sitok_espnet.evaluate.world import PITCH_CEILING, PITCH_FLOOR, SAMPLE_RATE, World


class AbsWorldMetric(AbsMetric):
    """Compares two signals frame by frame. Resynthesis keeps time, so nothing is warped (no DTW): not for TTS.

    Args:
        world: the shared analyser.
    """

    higher_is_better = False
    sample_rate = SAMPLE_RATE
    intrusive = True
    pitch_tracker = f"WORLD (DIO and StoneMask, {PITCH_FLOOR:.0f}-{PITCH_CEILING:.0f} Hz, every 5 ms)"

    def __init__(self, world: World):
        self._world = world
        self.version = f"pyworld {world.version}"

    def measure(self, sample: Sample) -> Measurement:
        """Compare one utterance."""
        require_equal_length(sample)
        reference = resample(sample.reference, sample.sample_rate, self.sample_rate)
        if not np.any(reference):
            raise NotMeasurable("silent original")
        return self.compare(reference, resample(sample.hypothesis, sample.sample_rate, self.sample_rate))

    @abstractmethod
    def compare(self, reference: np.ndarray, hypothesis: np.ndarray) -> Measurement:
        """Two signals (S,) at `sample_rate`.

        Raises:
            NotMeasurable: no frame can be compared.
        """
