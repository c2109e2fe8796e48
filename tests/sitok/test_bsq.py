"""BSQ: its function and entropies against enumerations, every code there and back, gradients, boundaries."""

import math

import pytest
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.quantizer.bsq import BinarySphericalQuantizer


def ready(num_bits=4, **options):
    torch.manual_seed(0)
    return BinarySphericalQuantizer(6, num_bits, **options)


def test_function_by_hand():
    quantizer = ready(16).eval()
    x = torch.randn(1, 40, 6)
    out = quantizer(x, torch.tensor([40]))
    assert quantizer.codebook_sizes == (65536,) and quantizer.codebook_dim == 16
    for latents, code, place in zip(
        quantizer.project_in(x)[0].tolist(),
        out.codes[0, :, 0].tolist(),
        out.quantized_per_codebook[0, :, 0],
        strict=True,
    ):
        assert code == sum(2**bit for bit, value in enumerate(latents) if value > 0)
        expected = [math.copysign(0.25, value) for value in latents]
        torch.testing.assert_close(place, torch.tensor(expected))
    torch.testing.assert_close(out.quantized, quantizer.project_out(out.quantized_per_codebook[:, :, 0]))


def test_all_65536_codes_there_and_back():
    quantizer = ready(16).eval()
    codes = torch.arange(1 << 16)
    digits = quantizer.to_digits(codes)
    assert torch.equal(digits, torch.stack([codes >> bit & 1 for bit in range(16)], dim=1))
    assert torch.equal(quantizer.to_codes(digits), codes)
    corners = quantizer.decode_per_codebook(codes[None, :, None])[0, :, 0]
    torch.testing.assert_close(corners.norm(dim=1), torch.ones(1 << 16))
    with torch.no_grad():
        quantizer.project_in = torch.nn.Linear(16, 16)
        quantizer.project_in.weight.copy_(torch.eye(16))
        quantizer.project_in.bias.zero_()
    assert torch.equal(quantizer.encode(3.0 * corners[None])[0, :, 0], codes)


def test_entropies_against_all_corners():
    """The soft assignment over all 2^4 corners: tokens exactly, the batch with the bits of the mean independent."""
    quantizer = ready(entropy_weight=0.3, gamma=0.7, beta=2.0, commitment=0.4)
    x, lengths = torch.randn(2, 9, 6), torch.tensor([9, 5])
    out = quantizer(x, lengths)
    corners = quantizer.grid(quantizer.to_digits(torch.arange(16))).double()
    points = torch.nn.functional.normalize(quantizer.project_in(x), dim=-1).double()
    points = torch.cat((points[0], points[1, :5]))
    soft = torch.softmax(-2.0 * torch.cdist(points, corners).square(), dim=1)
    of_tokens = -(soft * soft.log()).sum(1).mean()
    mean = soft.mean(0)
    ones = torch.stack([mean[quantizer.to_digits(torch.arange(16))[:, bit] == 1].sum() for bit in range(4)])
    of_batch = -(ones * ones.log() + (1 - ones) * (1 - ones).log()).sum()
    assert of_batch >= -(mean * mean.log()).sum() - 1e-9  # an upper bound of the exact one
    nearest = corners[torch.cdist(points, corners).argmin(1)]
    distance = (points - nearest).square().sum(1).mean()
    expected = 0.3 / 2.0 * (of_tokens - 0.7 * of_batch) + 0.4 * distance
    torch.testing.assert_close(out.loss.double(), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(out.stats["entropy_tokens"].double(), of_tokens, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(out.stats["entropy_batch"].double(), of_batch, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(out.stats["loss_commitment"].double(), 0.4 * distance, atol=1e-6, rtol=1e-5)


def test_entropy_loss_makes_bits_balanced():
    """Latents that all have the same signs are driven to use both: every bit is set about half of the time."""
    torch.manual_seed(1)
    quantizer = ready(entropy_weight=1.0, beta=4.0)
    latents = (0.5 + 0.3 * torch.randn(1, 64, 6)).requires_grad_()
    lengths = torch.tensor([64])
    with torch.no_grad():
        quantizer.project_in.bias.fill_(0.7)
    optimizer = torch.optim.Adam([latents, *quantizer.parameters()], lr=0.05)
    start = quantizer(latents, lengths)
    for _ in range(100):
        optimizer.zero_grad()
        quantizer(latents, lengths).loss.backward()
        optimizer.step()
    end = quantizer(latents, lengths)
    shares = [quantizer.to_digits(out.codes[0, :, 0]).float().mean(0) for out in (start, end)]
    assert (shares[0] > 0.9).all() and ((shares[1] - 0.5).abs() < 0.2).all()
    assert end.loss < start.loss


def test_saturated_bits_have_finite_gradients():
    quantizer = ready(2, beta=1000.0)
    x = torch.ones(1, 5, 6, requires_grad=True)
    quantizer(x, torch.tensor([5])).loss.backward()
    assert x.grad.isfinite().all()


def test_gradient_passes_the_sign_but_not_the_length():
    quantizer = ready(entropy_weight=0.0)
    x = torch.randn(2, 6, 6, requires_grad=True)
    weights = torch.randn(6)
    got = torch.autograd.grad((quantizer(x, torch.tensor([6, 6])).quantized * weights).sum(), x)[0]
    unit = quantizer.project_in(x) / quantizer.project_in(x).norm(dim=-1, keepdim=True)
    expected = torch.autograd.grad((quantizer.project_out(unit) * weights).sum(), x)[0]
    torch.testing.assert_close(got, expected)
    assert got.abs().max() > 1e-3


def test_near_tie_is_the_distance_to_the_equator():
    quantizer = ready().eval()
    with torch.no_grad():
        quantizer.project_in = torch.nn.Linear(4, 4)
        quantizer.project_in.weight.copy_(torch.eye(4))
        quantizer.project_in.bias.zero_()
    codes = [torch.tensor([code]) for code in range(16)]
    latent = torch.tensor([5e-5, -0.6, 0.6, 0.4])
    assert quantizer.is_near_tie(latent, codes[13], codes[12])
    assert not quantizer.is_near_tie(latent, codes[13], codes[15])
    assert not quantizer.is_near_tie(latent, codes[13], codes[14])  # one dimension with reason, one without
    latent[0] = 5e-4
    assert not quantizer.is_near_tie(latent, codes[13], codes[12])
    assert quantizer.is_near_tie(100 * torch.tensor([5e-5, -0.6, 0.6, 0.4]), codes[13], codes[12])  # relative


@pytest.mark.parametrize("num_bits", [0, 25, 2.0, "16", None])
def test_bad_numbers_of_bits(num_bits):
    with pytest.raises(SiTokError, match="num_bits must be a whole number from 1 to 24"):
        BinarySphericalQuantizer(6, num_bits)


def test_bad_temperature():
    with pytest.raises(SiTokError, match="beta must be positive, got 0"):
        BinarySphericalQuantizer(6, beta=0)
