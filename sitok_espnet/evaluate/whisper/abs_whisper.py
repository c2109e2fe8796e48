"""The contract of a Whisper, whatever library runs it: audio in, words out, and how texts are made comparable."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from sitok_espnet.evaluate.errors import MetricUnavailable

SAMPLE_RATE = 16000
WITHOUT_SPACES = ("zh", "ja", "th", "lo", "my", "yue")  # scored by character, as in Whisper's own paper


class TextNormalizer:
    """Whisper's own normalisation of texts (Radford et al. 2022, appendix C), from transformers.

    English: numbers as digits, contractions written out, fillers left out, American spelling; other languages: case and
    marks only.

    Args:
        spelling: British -> American words, Whisper's list; None where the model's folder has none (normalizer.json).

    Raises:
        MetricUnavailable: transformers is not installed.
    """

    def __init__(self, spelling: Mapping[str, str] | None):
        try:
            from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer
        except ImportError as error:
            raise MetricUnavailable(f"transformers cannot be imported ({error}): pip install transformers") from error
        self._english, self._basic = EnglishTextNormalizer(dict(spelling or {})), BasicTextNormalizer()
        self.name = "Whisper's normalizer" + ("" if spelling else " without its spelling list")

    def words(self, text: str, language: str) -> list[str]:
        """Comparable words, or characters of a language without spaces; a mark left alone ("...") is no word."""
        plain = self._english(text) if language == "en" else self._basic(text)
        words = [word for word in plain.split() if any(map(str.isalnum, word))]
        return list("".join(words)) if language in WITHOUT_SPACES else words


class AbsWhisper(ABC):
    """One Whisper: greedy, told the language, no temperature, fallback or memory of what it heard, so that it repeats.

    Attributes:
        name: of the model, for tables: never a path.
        size: "base", "large" ..., empty where it is not known.
        version: of libraries and weights.
        languages: codes that it knows.
        normalizer: of transcripts and of what it hears.
    """

    name: str
    size: str
    version: str
    languages: tuple[str, ...]
    normalizer: TextNormalizer

    @abstractmethod
    def transcribe(self, speech: np.ndarray, language: str) -> str:
        """What is said in float samples (S,) at SAMPLE_RATE; longer audio than 30 s is read window by window."""
