"""Count models: normalised, equal to formulas written out, and of the order that data has."""

import math

import numpy as np
import pytest

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.baselines import BEGIN, Event, KneserNeyBigram, UnigramModel, events, nats

SIZES = (5, 3)


def random_codes(frames, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, frames) for size in SIZES], axis=1)


def test_events_written_out():
    codes = np.array([[4, 0], [1, 2]])
    frame = [Event(0, BEGIN, 4), Event(1, BEGIN, 0), Event(0, 4, 1), Event(1, 0, 2), Event(0, 1, 5)]
    flat = [Event(0, BEGIN, 4), Event(1, 4, 0), Event(0, 0, 1), Event(1, 1, 2), Event(0, 2, 5)]
    assert events(codes, SIZES, "frame") == frame and events(codes, SIZES, "flat") == flat
    with pytest.raises(SiTokError, match="frame or flat"):
        events(codes, SIZES, "back")


@pytest.mark.parametrize("kind", [UnigramModel, KneserNeyBigram])
@pytest.mark.parametrize("order", ["frame", "flat"])
def test_probabilities_sum_to_one(kind, order):
    model = kind([e for seed in range(6) for e in events(random_codes(9, seed), SIZES, order)], SIZES)
    for book, choices in ((0, 6), (1, 3)):
        for history in (BEGIN, 0, 2, 4, 99):
            total = math.fsum(model.probability(Event(book, history, symbol)) for symbol in range(choices))
            assert total == pytest.approx(1.0, abs=1e-12)
            assert min(model.probability(Event(book, history, symbol)) for symbol in range(choices)) > 0


def test_kneser_ney_written_out():
    """One codebook of 3 codes and the end; pairs: (0,1) x 3, (0,2), (1,0) x 2, (2,0), (1,2)."""
    pairs = [(0, 1)] * 3 + [(0, 2)] + [(1, 0)] * 2 + [(2, 0)] + [(1, 2)]
    model = KneserNeyBigram([Event(0, h, w) for h, w in pairs], (3,))
    d = 3 / (3 + 2 * 1)  # three pairs once, one pair twice
    lower_d = 1 / (1 + 2 * 2)  # 1 after one history; 0 and 2 after two
    lower = {w: max(n - lower_d, 0) / 5 + lower_d * 3 / 5 / 4 for w, n in {0: 2, 1: 1, 2: 2, 3: 0}.items()}
    assert model.probability(Event(0, 0, 1)) == pytest.approx((3 - d) / 4 + d * 2 / 4 * lower[1])
    assert model.probability(Event(0, 0, 3)) == pytest.approx(d * 2 / 4 * lower[3])
    assert model.probability(Event(0, 7, 2)) == pytest.approx(lower[2])


def test_bigram_beats_unigram_where_codes_follow_each_other_only():
    chain = [
        np.stack([np.arange(start, start + 20) % 5, np.arange(start, start + 20) % 3], axis=1) for start in range(5)
    ]
    noise = [random_codes(20, seed) for seed in range(40)]
    for utterances, better in ((chain, True), (noise, False)):
        found = [events(codes, SIZES, "frame") for codes in utterances]
        training = [event for utterance in found[1:] for event in utterance]
        values = [nats(kind(training, SIZES), found[0]) for kind in (UnigramModel, KneserNeyBigram)]
        assert (values[1] < 0.5 * values[0]) == better
    assert abs(values[1] - values[0]) < 0.15 * values[0]
    with pytest.raises(SiTokError, match="needs training"):
        UnigramModel([], SIZES)
