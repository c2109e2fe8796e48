"""The flow-matching decoders: solver on fields with known solutions, objective, token drop, CFG, padding, draws."""

import logging
import math

import numpy as np
import pytest
import torch
from decoder_parts import DECODERS, ITERATIVE, FixedDraws, batch_of, context_of, row_of, small

from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig
from sitok_espnet.sitok.decoder.abs_flow_matching import Conditioning
from sitok_espnet.sitok.decoder.flow_matching import FlowMatchingDecoder
from sitok_espnet.sitok.decoder.solver import euler_velocity, euler_x
from sitok_espnet.sitok.randomness import TrainingDraws, ValidationDraws, utterance_noise


def test_euler_is_exact_on_a_constant_field_and_first_order_on_exponential_growth():
    x = torch.tensor([[[1.0, -2.0]]], dtype=torch.float64)
    torch.testing.assert_close(euler_velocity(lambda x, t: torch.full_like(x, 3.0), x, 7), x + 3.0)
    for steps in (4, 8, 16):
        torch.testing.assert_close(euler_velocity(lambda x, t: x, x, steps), x * (1 + 1 / steps) ** steps)
    errors = [(euler_velocity(lambda x, t: x, x, n) - math.e * x).abs().max().item() for n in (32, 64)]
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.05)


def test_euler_follows_time():
    """dx/dt = 2t from 0 to 1 with left ends: sum of 2 (i / n) / n = (n - 1) / n."""
    x = torch.zeros(2, 1, 1, dtype=torch.float64)
    end = euler_velocity(lambda x, t: 2 * t[:, None, None].expand_as(x), x, 10)
    torch.testing.assert_close(end, torch.full_like(x, 0.9))


def test_x_solver_is_euler_on_its_velocity_and_ends_on_the_estimate():
    torch.manual_seed(0)
    start, matrix = torch.randn(1, 3, 4), torch.randn(4, 4)

    def estimate(x, t):
        return torch.tanh(x @ matrix) + t[:, None, None]

    x = start
    for i in range(5):
        t = torch.full((1,), i / 5)
        before = x
        x = x + (estimate(x, t) - x) / (1 - i / 5) / 5
    torch.testing.assert_close(euler_x(estimate, start, 5), x)
    last = estimate(before, torch.full((1,), 0.8))
    torch.testing.assert_close(euler_x(estimate, start, 5), last)
    assert torch.equal(euler_x(estimate, start, 1), estimate(start, torch.zeros(1)))


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("prediction", ["velocity", "x"])
def test_loss_formula(name, prediction):
    decoder, batch = small(name, prediction=prediction), batch_of([5, 3])
    t, noise = torch.tensor([0.25, 0.99]), torch.randn(2, 5, 8)
    dropped = torch.tensor([False, True])
    got = decoder.loss(batch, FixedDraws(t, noise, dropped)).loss
    total, count = 0.0, 0
    for row, length in enumerate((5, 3)):
        one = row_of(batch, row)
        x, eps = one.target, noise[row : row + 1, :length]
        x_t = t[row] * x + (1 - t[row]) * eps
        out = decoder.predict(x_t, t[row : row + 1], context_of(decoder, one, dropped[row : row + 1]), one.lengths)
        error = (out - (x - eps)).abs() if prediction == "velocity" else (out - x).abs() / max(1 - t[row].item(), 0.05)
        total, count = total + error.sum(), count + length * 8
    torch.testing.assert_close(got, total / count)


@pytest.mark.parametrize("name", DECODERS)
def test_losses_are_reduced_in_float32_under_autocast(name, monkeypatch):
    """The same network outputs give the same loss with and without autocast; bfloat16 would be off by up to 0.4 %."""
    decoder, batch = small(name), batch_of([400, 251, 7], positions=400)
    guess, context = torch.randn(3, 400, 8), torch.zeros(3, 400, 16)
    monkeypatch.setattr(decoder, "predict", lambda *_: guess)
    if decoder.iterative:
        monkeypatch.setattr(
            decoder, "conditioning", lambda *_: Conditioning(context, guess if "coarse" in name else None)
        )
    draws = FixedDraws(torch.tensor([0.1, 0.5, 0.9]), torch.randn(3, 400, 8))
    expected = decoder.loss(batch, draws)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = decoder.loss(batch, draws)
    torch.testing.assert_close(got.loss, expected.loss, rtol=1e-6, atol=0)
    assert got.stats.keys() == expected.stats.keys()


def test_shortcut_losses_are_reduced_in_float32_under_autocast(monkeypatch):
    decoder, batch = small(shortcut=True), batch_of([400, 251, 7], positions=400)
    guess = torch.randn(3, 400, 8)
    monkeypatch.setattr(decoder, "predict", lambda x_t, t, *_: guess[: len(t)])
    monkeypatch.setattr(decoder, "conditioning", lambda *_: Conditioning(torch.zeros(3, 400, 16)))
    numbers = torch.tensor([0.1, 0.5, 0.9])
    draws = FixedDraws(
        numbers, torch.randn(3, 400, 8), share=torch.full((3,), 0.25), step_size=numbers, step_time=numbers
    )
    expected = decoder.loss(batch, draws).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(decoder.loss(batch, draws).loss, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ITERATIVE)
def test_guidance_formula_and_that_zero_costs_one_evaluation(name, monkeypatch):
    decoder, batch = small(name), batch_of([5])
    noise, calls = torch.randn(1, 5, 8), []
    predict = decoder.predict
    monkeypatch.setattr(decoder, "predict", lambda *a: calls.append(1) or predict(*a))
    decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(3, 0.0))
    assert len(calls) == 3
    calls.clear()
    got = decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(1, 1.5))
    assert len(calls) == 2
    t = torch.zeros(1)
    with_tokens = predict(noise, t, context_of(decoder, batch), batch.lengths)
    without = predict(noise, t, context_of(decoder, batch, torch.tensor([True])), batch.lengths)
    # v = v_c + w (v_c - v_u), one step of the velocity (x_hat - x_0) / 1 from x_0.
    v_c, v_u = with_tokens - noise, without - noise
    torch.testing.assert_close(got, noise + v_c + 1.5 * (v_c - v_u))


def test_sixteen_steps_unless_asked_otherwise(monkeypatch):
    decoder, batch = small(), batch_of([5])
    noise = torch.randn(1, 5, 8)
    default = decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig())
    assert torch.equal(default, decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(16)))
    assert not torch.equal(default, decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(15)))


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("prediction", ["velocity", "x"])
def test_the_temperature_scales_what_the_solver_starts_from(name, prediction, monkeypatch):
    decoder, batch = small(name, prediction=prediction), batch_of([5])
    noise = torch.randn(1, 5, 8)

    def sample(noise, *sampling):
        return decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(*sampling))

    plain = sample(noise, 3)
    assert torch.equal(plain, sample(noise, 3, 0.0, 1.0)) and torch.equal(plain, sample(noise, 3, 0.0, 1))
    half = sample(noise, 3, 0.0, 0.5)
    assert torch.equal(half, sample(noise / 2, 3)) and not torch.allclose(half, plain, atol=1e-2)
    assert torch.equal(half, sample(noise, 3, 0.0, np.float32(0.5)))
    assert torch.equal(sample(noise, 3, 0.0, 0), sample(torch.zeros_like(noise), 3))
    predict, seen = decoder.predict, []
    monkeypatch.setattr(decoder, "predict", lambda *a: seen.append(a[0]) or predict(*a))
    sample(noise, 1, 0.0, 0.25)
    assert torch.equal(seen[0], noise / 4)
    sample(noise, 1, 0.0, 1.0)
    assert seen[1] is noise  # not a copy: its strides decide the last bits of a batch


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("prediction", ["velocity", "x"])
def test_sample_does_not_depend_on_padding(name, prediction):
    decoder, batch = small(name, prediction=prediction), batch_of([5, 3])
    noise = torch.randn(2, 5, 8)
    together = decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(4, 0.5))
    alone = decoder.sample(batch.quantized[1:, :3], batch.lengths[1:], noise[1:, :3], SamplingConfig(4, 0.5))
    torch.testing.assert_close(together[1:, :3], alone, atol=1e-5, rtol=1e-5)


def count_calls(module, calls):
    module.register_forward_hook(lambda *_: calls.append(1))


def test_the_light_body_runs_once_and_the_head_every_time():
    decoder, batch = small("flow_matching_light", shortcut=True), batch_of([5, 3])
    body, head = [], []
    count_calls(decoder.body, body)
    count_calls(decoder.stack, head)

    def calls(work):
        body.clear(), head.clear()
        work()
        return len(body), len(head)

    validation = ValidationDraws(["a", "b"], torch.device("cpu"))
    # In each of four quarters of time: flow matching, the consistency step, its two half steps.
    assert calls(lambda: decoder.loss(batch, validation)) == (1, 16)
    assert calls(lambda: decoder.loss(batch, TrainingDraws(2, torch.device("cpu"))))[0] == 1
    noise = torch.randn(2, 5, 8)
    assert calls(lambda: decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(4))) == (1, 4)
    # Under guidance once for z_q and once for null.
    assert calls(lambda: decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(4, 1.0))) == (2, 8)


def test_the_light_body_knows_no_time():
    decoder = small("flow_matching_light")
    names = [name for name, _ in decoder.named_parameters()]
    assert any(name.startswith("stack.") and "to_gain" in name for name in names)
    assert any(name.startswith("body.") for name in names)
    assert not any(name.startswith("body.") and "to_gain" in name for name in names)
    # Not causal: the first position hears of the last.
    batch = batch_of([5])
    changed = batch.quantized.clone()
    changed[:, -1] += 1
    before, after = (decoder.context(decoder.condition_input(q), batch.lengths) for q in (batch.quantized, changed))
    assert not torch.allclose(before[:, 0], after[:, 0])


def test_narrow_velocity_decoder_warns_and_bad_options_are_refused(caplog):
    with caplog.at_level(logging.WARNING):
        FlowMatchingDecoder(512, 64, num_layers=1, hidden_size=64, intermediate_size=64, num_heads=1, prediction="x")
        assert not caplog.records
        FlowMatchingDecoder(512, 64, num_layers=1, hidden_size=64, intermediate_size=64, num_heads=1)
        assert "prediction=x" in caplog.text
    with pytest.raises(ValueError, match="prediction"):
        small(prediction="noise")


@pytest.mark.parametrize("steps", [0, -1, 4.0, True, "4", float("nan"), torch.tensor(4)])
def test_steps_are_whole_numbers(steps):
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1"):
        SamplingConfig(steps=steps)


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf"), True, "1", None])
def test_guidance_is_a_finite_number(scale):
    with pytest.raises(ValueError, match="cfg_scale must be a finite number"):
        SamplingConfig(cfg_scale=scale)


@pytest.mark.parametrize("temperature", [-0.1, 2.1, float("nan"), float("inf"), True, "1", torch.tensor(1.0)])
def test_the_temperature_is_a_number_from_0_to_2(temperature):
    with pytest.raises(ValueError, match="temperature must be a number from 0 to 2, or None, got"):
        SamplingConfig(temperature=temperature)


def test_numbers_of_numpy_are_numbers():
    config = SamplingConfig(np.int64(3), np.float32(0.5), np.float64(2))
    assert config == SamplingConfig(3, 0.5, 2.0) and config.num_steps == 3 and config.noise_scale == 2
    assert {type(value) for value in vars(config).values()} == {int, float}
    assert SamplingConfig().noise_scale == 1


def test_training_draws_repeat_with_the_seed_and_differ_between_steps_and_ranks(monkeypatch):
    device = torch.device("cpu")

    def draw():
        draws = TrainingDraws(4, device)
        return torch.cat((draws.times(0), draws.noise(2, 3).flatten(), draws.chosen([9, 9], 0.5).flatten().float()))

    torch.manual_seed(7)
    first, second = draw(), draw()
    torch.manual_seed(7)
    assert torch.equal(first, draw()) and torch.equal(second, draw())
    assert not torch.equal(first, second)
    monkeypatch.setattr("sitok_espnet.sitok.randomness.rank", lambda: 1)
    torch.manual_seed(7)
    assert not torch.equal(first, draw())


def test_training_seeds_use_all_bits_of_the_step_and_the_rank(monkeypatch):
    """Torch's CPU generator reads 32 bits of a seed: steps that differ above bit 16 must differ in their draws."""
    first = {}
    for step in [number << 16 for number in range(300)] + list(range(300)):
        for rank in (0, 1, 65536):
            monkeypatch.setattr("sitok_espnet.sitok.randomness.torch.randint", lambda *_, step=step: torch.tensor(step))
            monkeypatch.setattr("sitok_espnet.sitok.randomness.rank", lambda rank=rank: rank)
            draw = tuple(TrainingDraws(2, torch.device("cpu")).noise(1, 2).flatten().tolist())
            assert first.setdefault(draw, (step, rank)) == (step, rank)


def test_training_draws_have_the_right_distributions():
    torch.manual_seed(0)
    draws = TrainingDraws(20000, torch.device("cpu"))
    t = draws.times(0)
    assert 0 <= t.min() and t.max() < 1 and abs(t.mean() - 0.5) < 0.01 and abs(t.var() - 1 / 12) < 0.003
    noise = draws.noise(2, 3)
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert abs(draws.dropped(0.1).float().mean() - 0.1) < 0.01
    share = draws.share(0.25)
    assert set(share.tolist()) == {0.0, 1.0} and abs(share.mean() - 0.25) < 0.01


def test_validation_draws_depend_on_the_utterance_alone_and_cover_time():
    device = torch.device("cpu")
    together, alone = ValidationDraws(["a", "b", "c"], device), ValidationDraws(["b"], device)
    assert torch.equal(together.noise(6, 4)[1, :3], alone.noise(3, 4)[0])
    for stratum in range(4):
        t = together.times(stratum)
        assert torch.equal(t[1:2], alone.times(stratum))
        assert ((stratum / 4 <= t) & (t < (stratum + 1) / 4)).all()
        assert torch.equal(together.uniform("prompt", stratum)[1:2], alone.uniform("prompt", stratum))
    assert not together.dropped(0.9).any()
    assert together.share(0.25).tolist() == [0.25] * 3


def test_validation_uniforms_are_even_and_unrelated():
    draws = ValidationDraws([f"utt{i}" for i in range(4000)], torch.device("cpu"))
    columns = torch.stack([draws.uniform("a", 0), draws.uniform("a", 1), draws.uniform("b", 0)])
    assert columns.min() >= 0 and columns.max() < 1
    assert (columns.mean(1) - 0.5).abs().max() < 0.02 and (columns.var(1) - 1 / 12).abs().max() < 0.004
    assert (torch.corrcoef(columns) - torch.eye(3)).abs().max() < 0.06


def test_longer_noise_begins_with_the_shorter():
    assert torch.equal(utterance_noise(3, 50, 5)[:7], utterance_noise(3, 7, 5))
    assert not torch.equal(utterance_noise(3, 7, 5), utterance_noise(4, 7, 5))
