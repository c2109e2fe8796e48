"""The n-gram model against a hand calculation and an independent reading of its ARPA text."""

import math

import pytest

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.language_model import BEGIN, END, NGramModel

SENTENCES = [
    "press one to continue".split(),
    "press two to cancel".split(),
    "to cancel press one".split(),
    "goodbye".split(),
]


def read_arpa(text: str) -> dict[tuple[str, ...], tuple[float, float]]:
    """n-gram -> (log10 probability, log10 back-off weight), and the header's counts are checked."""
    table, announced, order = {}, {}, 0
    for line in text.splitlines():
        if line.startswith("ngram "):
            length, _, count = line[6:].partition("=")
            announced[int(length)] = int(count)
        elif line.endswith("-grams:"):
            order = int(line[1:].partition("-")[0])
        elif line and not line.startswith("\\"):
            value, gram, *backoff = line.split("\t")
            words = tuple(gram.split(" "))
            assert len(words) == order and words not in table
            table[words] = (float(value), float(backoff[0]) if backoff else 0.0)
    for length, count in announced.items():
        assert count == sum(len(gram) == length for gram in table)
    return table


def arpa_log10(table: dict, word: str, history: tuple[str, ...]) -> float:
    """Back-off evaluation as every decoder does it."""
    if (*history, word) in table:
        return table[(*history, word)][0]
    if not history:
        raise KeyError(word)
    return table.get(history, (0.0, 0.0))[1] + arpa_log10(table, word, history[1:])


@pytest.fixture(scope="module")
def model():
    return NGramModel(SENTENCES, extra_words=["semicolon", "press"])


HISTORIES = [
    (),
    ("press",),
    ("to",),
    (BEGIN,),
    ("goodbye",),
    ("semicolon",),
    ("press", "one"),
    ("one", "to"),
    (BEGIN, "press"),
    ("semicolon", "to"),
    ("cancel", "semicolon"),
]


@pytest.mark.parametrize("history", HISTORIES)
def test_every_context_sums_to_one(model, history):
    assert math.fsum(model.probability(word, history) for word in model.vocabulary) == pytest.approx(1.0, abs=1e-12)
    table = read_arpa(model.arpa())
    total = math.fsum(10 ** arpa_log10(table, word, history) for word in model.vocabulary)
    assert total == pytest.approx(1.0, abs=1e-5)


def test_arpa_says_what_the_model_says(model):
    table = read_arpa(model.arpa())
    for history in HISTORIES:
        for word in model.vocabulary:
            expected = math.log10(model.probability(word, history))
            assert arpa_log10(table, word, history) == pytest.approx(expected, abs=1e-6)
    for gram in table:  # decoders walk down: every n-gram's shorter parts must be listed
        assert len(gram) == 1 or (gram[:-1] in table and gram[1:] in table)
    assert table[(BEGIN,)][0] == -99.0


def test_hand_calculation():
    """Two sentences "a b", "a": unigram events a b </s> a </s>, so c = 5 with 3 kinds, V = 3."""
    model = NGramModel([["a", "b"], ["a"]], order=2)
    base = (2 + 3 * (1 / 3)) / (5 + 3)
    assert model.probability("a") == pytest.approx(base)
    # after "a": b once, </s> once -> c = 2, T = 2
    assert model.probability("a", ["a"]) == pytest.approx(2 / 4 * base)
    unigram_b = (1 + 3 * (1 / 3)) / 8
    assert model.probability("b", ["a"]) == pytest.approx((1 + 2 * unigram_b) / 4)


def test_extra_words_are_unigrams_only(model):
    table = read_arpa(model.arpa())
    assert ("semicolon",) in table and not any("semicolon" in gram for gram in table if len(gram) > 1)
    # A word counted once like "goodbye", which no context predicts better than its unigram does.
    assert model.probability("semicolon") == pytest.approx(model.probability("goodbye"))
    assert model.probability("semicolon", ["press"]) < model.probability("one", ["press"])


def test_known_sentence_is_likelier_than_shuffled(model):
    def score(words):
        padded = [BEGIN, *words, END]
        return sum(math.log(model.probability(w, padded[max(0, i - 2) : i])) for i, w in enumerate(padded) if i)

    assert score("press two to cancel".split()) > score("two cancel press to".split())


def test_bad_input():
    with pytest.raises(SiTokError, match="no training sentence"):
        NGramModel([], ["word"])
    with pytest.raises(SiTokError, match="reserved"):
        NGramModel([["<s>", "a"]])
    with pytest.raises(SiTokError, match="order"):
        NGramModel(SENTENCES, order=0)
