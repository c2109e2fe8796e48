"""PESQ: perceptual evaluation of speech quality, wide band."""

import math
from importlib.metadata import version

import numpy as np

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample
from sitok_espnet.evaluate.metrics.alignment import require_equal_length

PIECE_SECONDS = 15


class PESQ(AbsMetric):
    """Wide-band PESQ (ITU-T P.862.2) by the pesq package: MOS-LQO, 1.04 to 4.64.

    It equalises level and delay by itself. Audio beyond 15 s is cut into equal pieces, whose mean counts, weighted
    by length: the ITU's program keeps 50 stretches of speech and writes beyond its memory after that. Less than
    0.25 s, or a signal in which it finds no speech, is excluded.
    """

    name = "pesq"
    title = "PESQ"
    unit = "MOS-LQO (wide band, 1.04-4.64)"
    higher_is_better = True
    sample_rate = 16000
    intrusive = True
    decimals = 2

    def __init__(self):
        try:
            import pesq
        except ImportError as error:
            raise MetricUnavailable(
                f"pesq cannot be imported ({error}): pip install pesq (it compiles: gcc and Python's headers, "
                "on Debian apt-get install gcc python3-dev)"
            ) from error
        self.model = "pesq (ITU-T P.862.2, wide band)"
        self.version = version("pesq")
        self._pesq, self._failure = pesq.pesq, pesq.PesqError

    def measure(self, sample: Sample) -> Measurement:
        """MOS-LQO of one utterance."""
        require_equal_length(sample)
        both = [resample(wav, sample.sample_rate, self.sample_rate) for wav in (sample.reference, sample.hypothesis)]
        for wav, title in zip(both, ("original", "system's audio"), strict=True):
            if not np.any(wav):
                raise NotMeasurable(f"the {title} is silent")
        pieces = math.ceil(len(both[0]) / (PIECE_SECONDS * self.sample_rate))
        total, samples, reasons = 0.0, 0, []
        for pair in zip(*(np.array_split(wav, pieces) for wav in both), strict=True):
            try:
                total += self._score(*pair) * len(pair[0])
                samples += len(pair[0])
            except NotMeasurable as error:
                reasons.append(str(error))
        if not samples:
            raise NotMeasurable(reasons[0])
        return Measurement(total / samples, notice=f"{len(reasons)} of {pieces} pieces left out" if reasons else "")

    def _score(self, reference: np.ndarray, hypothesis: np.ndarray) -> float:
        try:
            score = float(self._pesq(self.sample_rate, reference, hypothesis, "wb"))
        except (self._failure, ValueError) as error:  # ValueError: NaN inside, of digital silence
            reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else "silent"
            raise NotMeasurable(f"PESQ: {reason}") from error
        if not math.isfinite(score):
            raise NotMeasurable("PESQ: no finite score")
        return score
