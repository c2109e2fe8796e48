"""Offline English recogniser: pocketsphinx with its bundled acoustic model and our own small language model (ours).

The language model knows the training texts and, as single words only, the words of the test texts: with the test
sentences in it the recogniser would guess them from damaged audio.
"""

import logging
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.language_model import NGramModel
from sitok_espnet.evaluate.memory import remember_last
from sitok_espnet.evaluate.pronunciations import Dictionary, build_dictionary
from sitok_espnet.evaluate.text import normalize_words

SAMPLE_RATE = 16000
SENTENCE = 3  # words: shorter ones ("yes", "thank you") are in everybody's texts


class Recognizer:
    """Speech -> words, one utterance at a time, each independent of those before it.

    Args:
        train_texts: transcripts whose sentences the language model learns.
        test_texts: transcripts of which it learns the words only.
        order: length of its n-grams in words.

    Raises:
        MetricUnavailable: pocketsphinx is not installed, or there is no training text.
    """

    def __init__(self, train_texts: Iterable[str], test_texts: Iterable[str], order: int = 3):
        try:
            import pocketsphinx
        except ImportError as error:
            raise MetricUnavailable("pocketsphinx is not installed: pip install 'sitok_espnet[eval]'") from error
        # The remark is part of every cached measurement's key: those with a carried noise estimate are not used again.
        self.version = f"{version('pocketsphinx')} (noise estimated for each utterance alone)"
        sentences = [words for words in map(normalize_words, train_texts) if words]
        test_words = {word for text in test_texts for word in normalize_words(text)}
        if not sentences:
            raise MetricUnavailable("no training texts for the recogniser's language model (option --train_text)")
        self.language_model = NGramModel(sentences, test_words, order)
        model = Path(pocketsphinx.get_model_path()) / "en-us"
        try:
            self.dictionary: Dictionary = build_dictionary(self.language_model.words, model / "cmudict-en-us.dict")
        except ValueError as error:
            raise MetricUnavailable(str(error)) from error
        if self.dictionary.by_rule:
            logging.warning("pronounced by spelling rules only: %s", ", ".join(self.dictionary.by_rule))
        with tempfile.TemporaryDirectory() as folder:
            lm_file, dict_file = Path(folder, "lm.arpa"), Path(folder, "words.dict")
            lm_file.write_text(self.language_model.arpa(), encoding="utf-8")
            dict_file.write_text(self.dictionary.text(), encoding="utf-8")
            # cmn=batch: with the default (live) normalisation a transcript would depend on the utterances before it.
            self._decoder = pocketsphinx.Decoder(
                hmm=str(model / "en-us"),
                lm=str(lm_file),
                dict=str(dict_file),
                samprate=SAMPLE_RATE,
                cmn="batch",
                loglevel="FATAL",
            )
        self._recognize_once = remember_last(self._recognize)

    def transcribe(self, speech: np.ndarray) -> str:
        """Transcribe one utterance: float samples (S,) at 16 kHz, clipped to [-1, 1] as 16-bit audio must be."""
        samples = np.round(np.clip(speech, -1.0, 1.0) * 32767.0).astype("<i2")
        return self._recognize_once(samples)

    def _recognize(self, samples: np.ndarray) -> str:
        self._decoder.start_stream()  # forgets the noise estimate, which else goes on from utterance to utterance
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), no_search=False, full_utt=True)
        self._decoder.end_utt()
        best = self._decoder.hyp()
        return best.hypstr if best is not None else ""


def refuse_shared_sentences(train_texts: Iterable[str], test_texts: Iterable[str]) -> None:
    """The language model must not know what it is going to hear: it would write it down from noise.

    Raises:
        MetricUnavailable: sentences of at least SENTENCE words, normalised, are in both.
    """
    known = {tuple(normalize_words(text)) for text in train_texts}
    sentences = [tuple(normalize_words(text)) for text in test_texts]
    if shared := [words for words in sentences if len(words) >= SENTENCE and words in known]:
        raise MetricUnavailable(
            f"{len(shared)} of {len(sentences)} scored sentences are in the texts of the recogniser's language "
            f"model (--train_text), such as {' '.join(shared[0])!r}: it would know them; give other texts"
        )
