"""Edit distance between what a recogniser hears and what was said, for any recogniser and unit."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import editdistance
import numpy as np

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample, digest_key
from sitok_espnet.evaluate.words import CELL, HEARD, SAID, count_kinds


def edit_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Smallest number of substitutions, deletions and insertions that turn one sequence into the other."""
    return editdistance.eval(list(reference), list(hypothesis))


class AbsErrorRate(AbsMetric):
    """Recognition errors over reference units, pooled over utterances (can exceed 1).

    What is kept in the cache is the recognised text: how texts are compared may change without hearing anything again,
    and the error rates of one recogniser share it.

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

    def hearing(self, utterance: str) -> str:
        """All that decides what is heard in a given audio: the recogniser and what it is told."""
        return f"{self.model} {self.version}"

    def refusal(self, text: str | None, utterance: str) -> str:
        """Without a transcript nothing is compared, so nothing needs to be heard."""
        return "" if self.split(text or "", utterance) else "no transcript"

    def measure(self, sample: Sample) -> Measurement:
        """Errors over reference units of one utterance; the recognised text is the detail."""
        if reason := self.refusal(sample.text, sample.utterance):
            raise NotMeasurable(reason)
        return self.conclude(self.observe(sample), sample.text, sample.utterance)

    def observe(self, sample: Sample) -> Measurement:
        """The recognised text, as the detail of a number that says nothing yet."""
        speech = resample(sample.hypothesis, sample.sample_rate, self.sample_rate)
        return Measurement(0.0, detail=self.transcribe(speech, sample.utterance))

    def conclude(self, observed: Measurement, text: str | None, utterance: str) -> Measurement:
        """Its errors."""
        expected, heard = self.split(text or "", utterance), self.split(observed.detail, utterance)
        return Measurement(edit_errors(expected, heard), len(expected), observed.detail)

    def cache_key(self, utterance: str, hypothesis: str, reference: str) -> str:
        """Of the audio and of the recogniser, not of what it is compared with."""
        return digest_key(f"{self.hearing(utterance)} {hypothesis}")

    def remarks(self, text: str | None, utterance: str, measurement: Measurement) -> dict:
        """The words as they were compared, for who marks the errors."""
        if not self.has_kinds:
            return {}
        parts = {SAID: text or "", HEARD: measurement.detail}
        return {name: " ".join(self.split(part, utterance)) for name, part in parts.items()}

    def extras(self, texts: Mapping[str, str], measurements: Mapping[str, Measurement]) -> dict:
        """Which kinds of errors there are."""
        if not self.has_kinds:
            return {}
        heard = {utt: item.detail for utt, item in measurements.items() if not item.excluded}
        return {CELL: count_kinds((self.split(texts[utt], utt), self.split(heard[utt], utt)) for utt in heard)}
