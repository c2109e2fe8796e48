"""STOI: short-time objective intelligibility."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import numpy as np

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample
from sitok_espnet.evaluate.metrics.alignment import require_equal_length


class STOI(AbsMetric):
    """STOI (Taal et al. 2011) by pystoi: correlation of third-octave envelopes with the original's.

    pystoi itself works at 10 kHz and resamples from 16 kHz. It needs 30 frames (about 0.4 s) of speech that is not
    silence; shorter utterances are excluded and counted (pystoi would return 1e-5 for them).
    """

    name = "stoi"
    title = "STOI"
    unit = "correlation"
    higher_is_better = True
    sample_rate = 16000
    intrusive = True
    decimals = 3
    variant = "STOI, not extended"
    extended = False

    def __init__(self):
        try:
            import pystoi
        except ImportError as error:
            raise MetricUnavailable("pystoi is not installed: pip install pystoi") from error
        self.model = f"pystoi ({self.variant})"
        self.version = version("pystoi")
        self._stoi = pystoi.stoi

    def measure(self, sample: Sample) -> Measurement:
        """STOI of one utterance."""
        require_equal_length(sample)
        reference = resample(sample.reference, sample.sample_rate, self.sample_rate)
        hypothesis = resample(sample.hypothesis, sample.sample_rate, self.sample_rate)
        with warnings.catch_warnings(), _same_draws():
            warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
            try:
                return Measurement(float(self._stoi(reference, hypothesis, self.sample_rate, self.extended)))
            except (RuntimeWarning, ValueError) as error:
                raise NotMeasurable(f"less than about 0.4 s of speech ({type(error).__name__})") from error


@contextmanager
def _same_draws() -> Iterator[None]:
    """pystoi's ESTOI adds tiny noise from NumPy's global stream, which decides the score where audio is silent."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)
