"""Error rates of Whisper, whatever library runs it; WER and CER differ only in the unit."""

from collections.abc import Mapping

import numpy as np

from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.metrics.abs_error_rate import AbsErrorRate
from sitok_espnet.evaluate.whisper.abs_whisper import SAMPLE_RATE, WITHOUT_SPACES, AbsWhisper


class WhisperWordErrorRate(AbsErrorRate):
    """Word errors of Whisper after its own normalisation of both texts; languages without spaces by character.

    Args:
        whisper: the recogniser, see :mod:`sitok_espnet.evaluate.whisper`.
        languages: of the scored utterances.
        foreign: utterance -> language, of those that are not English.

    Raises:
        MetricUnavailable: a language that this Whisper does not know.
    """

    name = "whisper_wer"
    rate = "WER"
    unit = "errors per reference word (character where words are not spaced)"
    sample_rate = SAMPLE_RATE
    costly = True

    def __init__(
        self, whisper: AbsWhisper, languages: tuple[str, ...] = ("en",), foreign: Mapping[str, str] | None = None
    ):
        self._whisper, self._languages, self._foreign = whisper, languages, dict(foreign or {})
        if unknown := [language for language in languages if language not in whisper.languages]:
            raise MetricUnavailable(f"{whisper.name} does not know the language {', '.join(unknown)} (utt2lang)")
        self.title = f"{self.rate} (Whisper {whisper.size})" if whisper.size else f"{self.rate} (Whisper)"
        self.model = f"{whisper.name}, greedy, {whisper.normalizer.name}"
        self.version = whisper.version

    def card(self) -> dict:
        """The name card, with the languages."""
        return super().card() | {"languages": list(self._languages)}

    def hearing(self, utterance: str) -> str:
        """This Whisper and the language that it is told."""
        return f"{self._whisper.name} {self.version} {self._language(utterance)}"

    def _language(self, utterance: str) -> str:
        return self._foreign.get(utterance, "en")

    def split(self, text: str, utterance: str) -> list[str]:
        """Words, or characters, after Whisper's normalisation."""
        return self._whisper.normalizer.words(text, self._language(utterance))

    def transcribe(self, speech: np.ndarray, utterance: str) -> str:
        """The words that Whisper hears in the utterance's language."""
        return self._whisper.transcribe(speech, self._language(utterance))


class WhisperCharacterErrorRate(WhisperWordErrorRate):
    """Character errors of Whisper after the same normalisation, single spaces between words included."""

    name = "whisper_cer"
    rate = "CER"
    unit = "errors per reference character"
    has_kinds = False

    def split(self, text: str, utterance: str) -> list[str]:
        """Characters of the normalised text."""
        space = "" if self._language(utterance) in WITHOUT_SPACES else " "
        return list(space.join(super().split(text, utterance)))
