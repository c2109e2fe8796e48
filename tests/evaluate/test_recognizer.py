"""The offline recogniser hears an utterance the same whatever it heard before."""

import numpy as np
from speech_generator import synthesize

from sitok_espnet.evaluate.recognizer import Recognizer

TEXTS = ["one two three", "four two one", "three one four"]


def heard(recognizer, speech):
    """Words and the decoder's own score: the score shows a carried state long before a word changes."""
    words = recognizer.transcribe(speech)
    return words, recognizer._decoder.hyp().best_score


def test_an_utterance_does_not_depend_on_those_before_it():
    speech = [synthesize(text, seed, 0, 16000) for seed, text in enumerate(TEXTS)]
    loud = np.random.default_rng(0).normal(0, 0.2, 16000).astype(np.float32)
    alone = heard(Recognizer(TEXTS, TEXTS), speech[0])
    recognizer = Recognizer(TEXTS, TEXTS)
    for before in (*speech[1:], loud):
        recognizer.transcribe(before)
    assert heard(recognizer, speech[0]) == alone
