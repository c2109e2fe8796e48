"""FSQ: its function by hand, every code there and back, gradients, boundaries."""

import itertools
import math

import pytest
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.quantizer.fsq import FiniteScalarQuantizer

DEFAULT, SIXTEEN_BITS = [8, 8, 8, 5, 5, 5], [8, 8, 8, 8, 4, 4]


def ready(levels, input_size=6):
    torch.manual_seed(0)
    return FiniteScalarQuantizer(input_size, levels).eval()


def passing(levels):
    """A quantizer whose projections do nothing: latents are the inputs."""
    quantizer = ready(levels, len(levels))
    with torch.no_grad():
        for linear in (quantizer.project_in, quantizer.project_out):
            linear.weight.copy_(torch.eye(len(levels)))
            linear.bias.zero_()
    return quantizer


def by_hand(z, level):
    """(bounded value, chosen integer) of one dimension, with Python's mathematics."""
    width, offset = (level - 1) / 2 * 1.001, 0.5 if level % 2 == 0 else 0.0
    value = math.tanh(z + math.atanh(offset / width)) * width - offset
    return value, min(max(round(value), -(level // 2)), (level - 1) // 2)


@pytest.mark.parametrize("levels", [DEFAULT, [3, 4, 7]])
def test_function_and_codes_by_hand(levels):
    quantizer = passing(levels)
    x = 2.5 * torch.randn(1, 300, len(levels), dtype=torch.float64).float()
    x[0, 0], x[0, 1] = 1e4, -1e4  # the ends are reached, and not passed
    out = quantizer(x, torch.tensor([300]))
    for z, code, quantized in zip(x[0].tolist(), out.codes[0, :, 0].tolist(), out.quantized[0].tolist(), strict=True):
        chosen = [by_hand(value, level)[1] for value, level in zip(z, levels, strict=True)]
        expected, weight = 0, 1
        for integer, level in zip(chosen, levels, strict=True):
            expected, weight = expected + weight * (integer + level // 2), weight * level
        assert code == expected
        places = [integer / (level // 2) for integer, level in zip(chosen, levels, strict=True)]
        assert quantized == pytest.approx(places, abs=1e-6)
    assert out.codes[0, 0] == math.prod(levels) - 1 and out.codes[0, 1] == 0 and out.loss == 0


@pytest.mark.parametrize("levels, size", [(DEFAULT, 64000), (SIXTEEN_BITS, 65536)])
def test_every_code_there_and_back(levels, size):
    """All codes: digits, places on the grid, and through the rounding again; exactly, not by sampling."""
    quantizer = passing(levels)
    assert quantizer.codebook_sizes == (size,) and quantizer.codebook_dim == 6
    codes = torch.arange(size)
    digits = quantizer.to_digits(codes)
    # The first dimension counts fastest.
    counted = torch.tensor(list(itertools.product(*(range(level) for level in reversed(levels))))).flip(1)
    assert torch.equal(digits, counted) and torch.equal(quantizer.to_codes(digits), codes)
    grid = quantizer.decode_per_codebook(codes[None, :, None])[0, :, 0]
    assert torch.equal(quantizer.to_codes(quantizer.nearest_digits(grid.double())), codes)
    assert torch.unique(grid, dim=0).size(0) == size
    # Latents that are bounded to these places (the margin keeps the outermost ones finite), through encode.
    width, offset = (quantizer.levels - 1) / 2 * 1.001, 0.5 * (quantizer.levels % 2 == 0)
    middle = quantizer.levels // 2
    latents = torch.atanh((grid.double() * middle + offset) / width) - torch.atanh(offset.double() / width)
    assert torch.equal(quantizer.encode(latents.float()[None])[0, :, 0], codes)


def test_gradient_passes_the_rounding():
    quantizer = ready([8, 5, 4])
    x = torch.randn(2, 6, 6, requires_grad=True)
    weights = torch.randn(6)
    got = torch.autograd.grad((quantizer(x, torch.tensor([6, 6])).quantized * weights).sum(), x)[0]
    bounded = quantizer.bound(quantizer.project_in(x).double()).float()
    expected = torch.autograd.grad((quantizer.project_out(bounded) * weights).sum(), x)[0]
    torch.testing.assert_close(got, expected)
    assert got.abs().max() > 1e-3


def test_zero_is_the_middle_level():
    for levels in (DEFAULT, [3, 4, 7]):
        quantizer = passing(levels)
        digits = quantizer.to_digits(quantizer.encode(torch.zeros(1, 1, len(levels))))[0, 0, 0]
        assert digits.tolist() == [level // 2 for level in levels]


def latent_at(value, level):
    """The latent that is bounded to a value (in steps)."""
    width, offset = (level - 1) / 2 * 1.001, 0.5 if level % 2 == 0 else 0.0
    return math.atanh((value + offset) / width) - math.atanh(offset / width)


def test_near_tie_is_the_distance_to_the_rounding_boundary():
    quantizer = passing([8, 5])

    def judge(first_step, second_step, one, two):
        latent = torch.tensor([latent_at(first_step, 8), latent_at(second_step, 5)])
        codes = [torch.tensor([(a + 4) + 8 * (b + 2)]) for a, b in (one, two)]
        return quantizer.is_near_tie(latent, *codes)

    assert judge(1.5 + 5e-5, 0.2, (1, 0), (2, 0)) and judge(1.5 - 5e-5, 0.2, (2, 0), (1, 0))
    assert not judge(1.5 + 5e-4, 0.2, (1, 0), (2, 0))  # too far from the boundary
    assert not judge(1.5 + 5e-5, 0.2, (1, 0), (3, 0))  # not neighbours
    assert not judge(1.5 + 5e-5, 0.2, (0, 0), (1, 0))  # neighbours, another boundary
    assert not judge(1.5 + 5e-5, 0.2, (1, 0), (2, 1))  # the second dimension differs without reason
    assert judge(1.5 + 5e-5, 0.5 - 5e-5, (1, 0), (2, 1))  # both dimensions at a boundary


def test_rounding_is_decided_in_double_precision():
    """Latents a few units in the last place from every boundary: an fp32 tanh would put some on the wrong side."""
    latents = []
    for boundary in (-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5):
        nearest = torch.tensor(latent_at(boundary, 8))
        latents.append((nearest.view(torch.int32) + torch.arange(-20, 21, dtype=torch.int32)).view(torch.float32))
    latents = torch.cat(latents)
    expected = [by_hand(z, 8)[1] + 4 for z in latents.tolist()]
    quantizer = passing([8])
    assert quantizer.encode(latents[None, :, None]).flatten().tolist() == expected


@pytest.mark.parametrize("levels", [[], [8, 2], [8, 5.0], 8, "8,5", [8, True], None])
def test_bad_levels(levels):
    with pytest.raises(SiTokError, match="quantizer_conf levels must be a list of whole numbers of at least 3"):
        FiniteScalarQuantizer(6, levels)


def test_too_many_codes():
    with pytest.raises(SiTokError, match="134,217,728 codes are more than the 16,777,216"):
        FiniteScalarQuantizer(6, [8] * 9)
