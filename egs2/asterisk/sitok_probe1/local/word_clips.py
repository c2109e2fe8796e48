"""Single words cut out of English prompts, by aligning the known transcript with pocketsphinx (offline)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pocketsphinx

from sitok_espnet.audio import read_audio, resample
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.pronunciations import build_dictionary
from sitok_espnet.evaluate.recognizer import SAMPLE_RATE
from sitok_espnet.evaluate.text import normalize_words

FRAMES = 100  # a second, of the aligner
MARGIN = 0.04  # seconds kept before and after a word
DURATIONS = (0.12, 1.2)  # seconds; what is aligned outside of them is not believed


@dataclass(frozen=True)
class WordClip:
    """samples: float32 (S,) at `rate`; number: of the word in its prompt."""

    word: str
    number: int
    samples: np.ndarray
    rate: int


class Aligner:
    """Where the words of prompts are.

    Args:
        texts: all transcripts, for the dictionary.
    """

    def __init__(self, texts: Iterable[str]):
        model = Path(pocketsphinx.get_model_path()) / "en-us"
        words = sorted({word for text in texts for word in normalize_words(text)})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "words.dict")
            path.write_text(build_dictionary(words, model / "cmudict-en-us.dict").text(), encoding="utf-8")
            self._decoder = pocketsphinx.Decoder(
                hmm=str(model / "en-us"), dict=str(path), lm=None, samprate=SAMPLE_RATE, cmn="batch", loglevel="FATAL"
            )

    def clips(self, path: Path, text: str, wanted: frozenset[str]) -> Iterator[WordClip]:
        """The wanted words of one prompt; none where the transcript cannot be aligned."""
        samples, rate = read_audio(path)
        speech = np.round(np.clip(resample(samples, rate, SAMPLE_RATE), -1.0, 1.0) * 32767.0).astype("<i2")
        spans = self._align(speech, normalize_words(text))
        for number, (word, first, last) in enumerate(spans):
            seconds = (last + 1 - first) / FRAMES
            if word in wanted and DURATIONS[0] <= seconds <= DURATIONS[1]:
                start = max(0, int((first / FRAMES - MARGIN) * rate))
                stop = min(len(samples), int(((last + 1) / FRAMES + MARGIN) * rate))
                yield WordClip(word, number, samples[start:stop], rate)

    def _align(self, speech: np.ndarray, words: list[str]) -> list[tuple[str, int, int]]:
        """(word, first frame, last frame) of every word; empty where the aligner fails."""
        try:
            self._decoder.set_align_text(" ".join(words))
            self._decoder.start_utt()
            self._decoder.process_raw(speech.tobytes(), no_search=False, full_utt=True)
            self._decoder.end_utt()
            segments = self._decoder.seg()
        except RuntimeError:
            return []
        if segments is None:
            return []
        found = [(s.word.split("(")[0], s.start_frame, s.end_frame) for s in segments]
        found = [item for item in found if not item[0].startswith(("<", "["))]
        return found if [word for word, *_ in found] == words else []


def check_aligner(count: int, total: int) -> None:
    """SiTokError if so few prompts could be aligned that something must be wrong."""
    if count < total / 2:
        raise SiTokError(f"only {count} of {total} prompts could be aligned with their transcripts: other audio?")
