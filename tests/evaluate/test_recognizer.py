"""The offline recogniser hears an utterance the same whatever it heard before."""

import numpy as np
import pytest
from speech_generator import synthesize

from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.metrics import MetricContext, build_metric
from sitok_espnet.evaluate.recognizer import Recognizer, refuse_shared_sentences

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


def test_a_language_model_that_knows_the_test_sentences_is_refused():
    train = ("Press one, now.", "two three", "four one two three")
    with pytest.raises(MetricUnavailable, match="1 of 3 scored .*--train_text.* such as 'press one now'"):
        build_metric("wer", MetricContext(train, ("press ONE now", "two three", "one two three")))
    # Short ones are everybody's, and parts of sentences are what a language model is for.
    refuse_shared_sentences(train, ("two three", "one two three", "four one"))
