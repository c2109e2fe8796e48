"""Codebook statistics with known answers."""

import math
from fractions import Fraction

import numpy as np
import pytest

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.codebook import bits_per_second, codebook_use


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
