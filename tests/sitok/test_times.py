"""Densities of the diffusion time against SciPy, and their refusals."""

import numpy as np
import pytest
import torch
from decoder_parts import FixedDraws, batch_of, small
from scipy.special import expit
from scipy.stats import kstest, norm

from sitok_espnet.sitok.decoder.times import LogitNormalTimes, UniformTimes, time_density


def test_uniform_times_are_the_numbers_themselves():
    numbers = torch.rand(100)
    assert time_density("uniform", 0.0, 1.0) == UniformTimes()
    assert torch.equal(UniformTimes().quantile(numbers), numbers)


def test_logit_normal_times_have_their_distribution():
    torch.manual_seed(0)
    times = time_density("logit_normal", -0.8, 0.8).quantile(torch.rand(20000))
    assert kstest(torch.logit(times.double()).numpy(), norm(-0.8, 0.8).cdf).pvalue > 0.01
    some = torch.tensor([0.1, 0.5, 0.9])
    expected = expit(-0.8 + 0.8 * norm.ppf(some.double()))
    np.testing.assert_allclose(LogitNormalTimes(-0.8, 0.8).quantile(some).numpy(), expected, rtol=1e-5)


def test_times_stay_below_one():
    ends = torch.tensor([0.0, 1 - 2**-24])
    times = LogitNormalTimes(20.0, 10.0).quantile(ends)
    assert (times >= 0).all() and (times < 1).all()


@pytest.mark.parametrize(
    "name, mean, std, message",
    [
        ("cosine", 0.0, 1.0, "time_sampling must be one of uniform, logit_normal"),
        ("logit_normal", float("nan"), 1.0, "time_mean must be a finite number"),
        ("logit_normal", 0.0, 0.0, "time_std must be positive"),
        ("logit_normal", 0.0, "1", "time_std must be a finite number"),
        ("uniform", -0.8, 0.8, "are of time_sampling: logit_normal"),
    ],
)
def test_bad_densities_are_refused(name, mean, std, message):
    with pytest.raises(ValueError, match=message):
        time_density(name, mean, std)


def test_the_loss_is_taken_at_the_times_of_the_density():
    batch, noise, numbers = batch_of([5, 3]), torch.randn(2, 5, 8), torch.tensor([0.2, 0.7])
    density = LogitNormalTimes(-0.8, 0.8)
    skewed = small(time_sampling="logit_normal", time_mean=-0.8, time_std=0.8).loss(batch, FixedDraws(numbers, noise))
    plain = small().loss(batch, FixedDraws(density.quantile(numbers), noise))
    assert torch.equal(skewed.loss, plain.loss)
    assert not torch.equal(skewed.loss, small().loss(batch, FixedDraws(numbers, noise)).loss)
