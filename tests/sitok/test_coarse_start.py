"""The coarse start: its path, its objective, what its gradient reaches, and the limit in which it is the paper's."""

import pytest
import torch
from decoder_parts import FixedDraws, batch_of, row_of, small

from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig

TAU = 0.6


def coarse(**options):
    return small("flow_matching_coarse", start_time=TAU, **options)


def parts(decoder, batch):
    """h and m by the formulas of the class."""
    h = decoder.body(decoder.condition_input(batch.quantized), batch.lengths)
    return h, decoder.coarse_output(h)


@pytest.mark.parametrize("prediction, loss_on", [("velocity", "velocity"), ("x", "velocity"), ("x", "x")])
def test_loss_formula(prediction, loss_on):
    decoder, batch = coarse(prediction=prediction, loss_on=loss_on), batch_of([5, 3])
    t, noise, dropped = torch.tensor([0.25, 0.99]), torch.randn(2, 5, 8), torch.tensor([False, True])
    got = decoder.loss(batch, FixedDraws(t, noise, dropped))
    flow, coarse_loss, count = 0.0, 0.0, 0
    for row, length in enumerate((5, 3)):
        one = row_of(batch, row)
        x, (h, m) = one.target, parts(decoder, one)
        start = TAU * m + (1 - TAU) * noise[row : row + 1, :length]
        x_t = t[row] * x + (1 - t[row]) * start
        context = decoder.null_condition.expand_as(h) if dropped[row] else h
        out = decoder.predict(x_t, t[row : row + 1], context, one.lengths)
        if prediction == "velocity":
            error = (out - (x - start)).abs()
        else:
            error = (out - x).abs() / (max(1 - t[row].item(), 0.05) if loss_on == "velocity" else 1.0)
        flow, coarse_loss, count = flow + error.sum(), coarse_loss + (m - x).abs().sum(), count + length * 8
    torch.testing.assert_close(got.loss, (flow + coarse_loss) / count)
    torch.testing.assert_close(got.stats["loss_coarse"], coarse_loss / count)


def test_the_flow_does_not_move_the_coarse_mel():
    """m learns from its own L1 alone: without it, its output layer has no gradient, though the path begins at m."""
    decoder, batch = coarse(), batch_of([5, 3])
    draws = FixedDraws(torch.tensor([0.3, 0.6]), torch.randn(2, 5, 8))
    result = decoder.loss(batch, draws)
    given = decoder.conditioning(batch.quantized, batch.lengths, torch.tensor([False, False]))
    alone = ((given.coarse - batch.target).abs() * batch.valid).sum() / batch.valid.expand_as(batch.target).sum()
    weight = decoder.coarse_output.weight
    (with_flow,) = torch.autograd.grad(result.loss, weight, retain_graph=True)
    torch.testing.assert_close(with_flow, torch.autograd.grad(alone, weight)[0])


@pytest.mark.parametrize("prediction", ["velocity", "x"])
def test_sampling_begins_at_the_noised_coarse_mel(prediction):
    decoder, batch = coarse(prediction=prediction), batch_of([5])
    noise = torch.randn(1, 5, 8)
    h, m = parts(decoder, batch)
    x = TAU * m + (1 - TAU) * noise
    for step in range(2):
        t = torch.full((1,), step / 2)
        out = decoder.predict(x, t, h, batch.lengths)
        x = x + (out if prediction == "velocity" else (out - x) / (1 - step / 2)) / 2
    torch.testing.assert_close(decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(2)), x)


def test_guidance_keeps_the_start_and_drops_the_context():
    decoder, batch = coarse(), batch_of([5])
    noise, t = torch.randn(1, 5, 8), torch.zeros(1)
    h, m = parts(decoder, batch)
    start = TAU * m + (1 - TAU) * noise
    seen = decoder.predict(start, t, h, batch.lengths)
    unseen = decoder.predict(start, t, decoder.null_condition.expand_as(h), batch.lengths)
    got = decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(1, 1.5))
    torch.testing.assert_close(got, seen + 1.5 * (seen - unseen))


def test_without_a_start_time_it_is_the_light_head():
    """The same layers, the same noise: only the coarse loss is more."""
    light, batch = small("flow_matching_light"), batch_of([5, 3])
    decoder = small("flow_matching_coarse", start_time=0.0)
    decoder.load_state_dict(light.state_dict(), strict=False)
    noise = torch.randn(2, 5, 8)
    one, other = (d.sample(batch.quantized, batch.lengths, noise, SamplingConfig(3)) for d in (light, decoder))
    assert torch.equal(one, other)
    draws = FixedDraws(torch.tensor([0.3, 0.6]), noise)
    result = decoder.loss(batch, draws)
    torch.testing.assert_close(result.loss - result.stats["loss_coarse"], light.loss(batch, draws).loss)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan"), True, "0.5"])
def test_a_start_time_is_a_number_below_one(value):
    with pytest.raises(ValueError, match="start_time must be a number in"):
        small("flow_matching_coarse", start_time=value)
