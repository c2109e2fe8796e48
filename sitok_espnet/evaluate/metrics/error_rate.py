"""Edit distance between what a recogniser hears and what was said; WER and CER differ only in the unit."""

from abc import abstractmethod
from collections.abc import Sequence

import editdistance

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample
from sitok_espnet.evaluate.recognizer import SAMPLE_RATE, Recognizer


def edit_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Smallest number of substitutions, deletions and insertions that turn one sequence into the other."""
    return editdistance.eval(list(reference), list(hypothesis))


class ErrorRate(AbsMetric):
    """Recognition errors over reference units, pooled over utterances (can exceed 1).

    Args:
        recognizer: the shared offline recogniser.
    """

    higher_is_better = False
    sample_rate = SAMPLE_RATE
    decimals = 3

    def __init__(self, recognizer: Recognizer):
        self._recognizer = recognizer
        model = recognizer.language_model
        self.model = f"pocketsphinx en-us, own {model.order}-gram {model.hash()} of {len(model.words)} words"
        self.version = recognizer.version

    def card(self) -> dict:
        """The name card, with the words whose pronunciation is only a guess."""
        return super().card() | {"pronounced_by_rule": list(self._recognizer.dictionary.by_rule)}

    @staticmethod
    @abstractmethod
    def units(text: str) -> list[str]:
        """The units that are counted, after the common normalisation."""

    def measure(self, sample: Sample) -> Measurement:
        """Errors over reference units of one utterance; the recognised text is the detail."""
        expected = self.units(sample.text or "")
        if not expected:
            raise NotMeasurable("no transcript")
        heard = self._recognizer.transcribe(resample(sample.hypothesis, sample.sample_rate, self.sample_rate))
        return Measurement(edit_errors(expected, self.units(heard)), len(expected), heard)
