"""Edit distance between what a recogniser hears and what was said, for any recogniser and unit."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import editdistance
import numpy as np

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample
from sitok_espnet.evaluate.words import CELL, count_kinds


def edit_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Smallest number of substitutions, deletions and insertions that turn one sequence into the other."""
    return editdistance.eval(list(reference), list(hypothesis))


class AbsErrorRate(AbsMetric):
    """Recognition errors over reference units, pooled over utterances (can exceed 1).

    Class attributes: has_kinds: whether to say how many are substitutions, deletions and insertions.
    """

    higher_is_better = False
    decimals = 3
    has_kinds = True

    @abstractmethod
    def transcribe(self, speech: np.ndarray, utterance: str) -> str:
        """What is heard in float samples (S,) at `sample_rate`; utterances may differ in language."""

    @abstractmethod
    def split(self, text: str, utterance: str) -> list[str]:
        """The units that are counted, after a normalisation that transcript and recognised text share."""

    def measure(self, sample: Sample) -> Measurement:
        """Errors over reference units of one utterance; the recognised text is the detail."""
        expected = self.split(sample.text or "", sample.utterance)
        if not expected:
            raise NotMeasurable("no transcript")
        speech = resample(sample.hypothesis, sample.sample_rate, self.sample_rate)
        heard = self.transcribe(speech, sample.utterance)
        return Measurement(edit_errors(expected, self.split(heard, sample.utterance)), len(expected), heard)

    def extras(self, texts: Mapping[str, str], measurements: Mapping[str, Measurement]) -> dict:
        """Which kinds of errors there are."""
        if not self.has_kinds:
            return {}
        heard = {utt: item.detail for utt, item in measurements.items() if not item.excluded}
        return {CELL: count_kinds((self.split(texts[utt], utt), self.split(heard[utt], utt)) for utt in heard)}
