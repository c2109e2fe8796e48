"""Error rates of the offline recogniser; WER and CER differ only in the unit."""

from abc import abstractmethod

import numpy as np

from sitok_espnet.evaluate.metrics.abs_error_rate import AbsErrorRate, edit_errors
from sitok_espnet.evaluate.recognizer import SAMPLE_RATE, Recognizer

__all__ = ["ErrorRate", "edit_errors"]


class ErrorRate(AbsErrorRate):
    """Errors of the offline recogniser.

    Args:
        recognizer: the shared offline recogniser.
    """

    sample_rate = SAMPLE_RATE

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

    def split(self, text: str, utterance: str) -> list[str]:
        """The same units for every utterance."""
        return self.units(text)

    def transcribe(self, speech: np.ndarray, utterance: str) -> str:
        """The recogniser's words."""
        return self._recognizer.transcribe(speech)
