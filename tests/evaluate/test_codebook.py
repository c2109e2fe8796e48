"""Codebook statistics with known answers."""

import math
from fractions import Fraction

import numpy as np
import pytest

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.codebook import bits_per_second, codebook_use, entropy_rate


def test_uniform_and_constant_codebooks():
    codes = np.stack([np.arange(32) % 8, np.full(32, 3)], axis=1)
    use = codebook_use([codes[:10], codes[10:]], (8, 4))
    assert use.tokens == 32
    assert use.used == (1.0, 0.25)
    assert use.perplexity == pytest.approx((8.0, 1.0))


def test_perplexity_by_hand():
    use = codebook_use([np.array([[0], [0], [1], [2]])], (16,))
    entropy = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    assert use.perplexity[0] == pytest.approx(math.exp(entropy))
    assert use.used == (3 / 16,)


def test_bits_per_second():
    assert bits_per_second("25/2", (65536,)) == 200.0
    assert bits_per_second(Fraction(25, 2), (16384,) * 4) == 700.0


@pytest.mark.parametrize("codes", [np.array([[4]]), np.array([[-1]])])
def test_codes_outside_the_codebook(codes):
    with pytest.raises(SiTokError, match="codebook 0 has 4 entries"):
        codebook_use([codes], (4,))


def test_wrong_shapes_and_no_tokens():
    with pytest.raises(SiTokError, match="2 codebooks"):
        codebook_use([np.array([[1]])], (4, 4))
    with pytest.raises(SiTokError, match="no tokens"):
        codebook_use([], (4,))


def test_entropies_of_a_known_chain():
    """A cycle through four codes: two bits a token, none given the one before."""
    codes = [np.arange(start, start + 40)[:, None] % 4 for start in range(4)]
    rate = entropy_rate(codes, (16,), "25/2")
    assert rate.nominal_bits_per_second == 50.0
    assert rate.bits_per_token == pytest.approx((2.0,)) and rate.bits_per_second == pytest.approx(25.0)
    assert rate.conditional_bits_per_token == (0.0,) and rate.half_conditional_bits_per_token == (0.0,)
    assert rate.pairs == 4 * 39 and rate.pairs_seen_once == (0.0,)
    assert rate.corrected_bits_per_token[0] == pytest.approx(2.0 + 3 / (2 * math.log(2) * 160))


def test_entropies_by_hand():
    rate = entropy_rate([np.array([[0, 1], [0, 2], [1, 1], [0, 1]])], (2, 4), 10)
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert rate.bits_per_token == pytest.approx((entropy, entropy))
    assert rate.bits_per_second == pytest.approx(20 * entropy)
    # Pairs (0,0) (0,1) (1,0), firsts 0 0 1: log2(3) - H(2/3), and so for (1,2) (2,1) (1,1).
    given = math.log2(3) + 2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3)
    assert rate.conditional_bits_per_token == pytest.approx((given, given))
    assert rate.pairs == 3 and rate.pairs_seen_once == (1.0, 1.0)
    assert rate.half_conditional_bits_per_token is None


def test_a_small_sample_is_too_low_and_half_of_it_lower():
    rng = np.random.default_rng(0)
    codes = [rng.integers(0, 256, (50, 1)) for _ in range(20)]
    rate = entropy_rate(codes, (256,), "25/2")
    assert rate.bits_per_token[0] < rate.corrected_bits_per_token[0] <= 8.0
    assert abs(rate.corrected_bits_per_token[0] - 8.0) < 0.1 < 8.0 - rate.bits_per_token[0]
    assert rate.half_conditional_bits_per_token[0] < rate.conditional_bits_per_token[0] < 3.0  # of 8, from 980 pairs
    assert rate.pairs_seen_once[0] > 0.9


def test_pairs_do_not_cross_utterances():
    codes = [np.array([[0], [0]]), np.array([[1], [1]])]
    assert entropy_rate(codes, (2,), 1).conditional_bits_per_token == (0.0,)
    with pytest.raises(SiTokError, match="two tokens"):
        entropy_rate([np.array([[0]]), np.array([[1]])], (2,), 1)
