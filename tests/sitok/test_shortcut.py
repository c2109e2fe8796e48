"""The shortcut objective: grid, target, stop-gradient, shares, start at the base decoder, sizes at inference."""

import logging
import math
from collections import Counter

import pytest
import torch
from decoder_parts import ITERATIVE, FixedDraws, batch_of, context_of, randomise_step_size, row_of, small

from sitok_espnet.sitok.decoder import abs_flow_matching, shortcut
from sitok_espnet.sitok.decoder.abs_decoder import DecoderBatch, SamplingConfig
from sitok_espnet.sitok.decoder.flow_matching import FlowMatchingDecoder
from sitok_espnet.sitok.decoder.shortcut import ConsistencyStep, draw_step, two_half_steps
from sitok_espnet.sitok.randomness import TrainingDraws, ValidationDraws

CPU = torch.device("cpu")


def step_of(*pairs):
    return ConsistencyStep(*(torch.tensor(column) for column in zip(*pairs, strict=True)))


def test_sizes_and_times_lie_on_the_grid_as_often_as_they_should():
    torch.manual_seed(0)
    edge = 1 - 2**-24  # the largest number that a generator gives
    size, time = (torch.cat((torch.rand(40000), torch.tensor([0.0, edge, edge]))) for _ in range(2))
    step = draw_step(size, time)
    doubled = Counter(step.size.tolist())
    assert sorted(doubled) == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0]
    assert all(abs(count / 40000 - 0.2) < 0.01 for count in doubled.values())
    multiple = step.time / step.size
    assert torch.equal(multiple, multiple.round()) and (step.time + step.size <= 1).all() and (step.time >= 0).all()
    eighths = Counter(step.time[step.size == 1 / 8].tolist())
    assert sorted(eighths) == [i / 8 for i in range(8)]
    assert all(abs(count / doubled[1 / 8] - 1 / 8) < 0.02 for count in eighths.values())


def test_half_steps_are_labelled_with_their_size_and_zero_below_the_smallest():
    step = step_of((0.0, 1 / 16), (0.0, 1 / 8), (0.0, 0.5), (0.0, 1.0))
    assert step.half_label.tolist() == [0.0, 1 / 16, 0.25, 0.5]


def test_target_on_a_linear_field_is_the_mean_of_two_euler_steps():
    """v = a x: steps of d lead to (1 + a d)^2 x, and so the target is a x (1 + a d / 2), d half of the size."""
    x, a = torch.randn(3, 2, 4, dtype=torch.float64), -1.7
    step = step_of((0.25, 0.25), (0.0, 1.0), (15 / 16, 1 / 16))
    seen = []

    def field(x_t, t, label):
        seen.append((t.tolist(), label.tolist()))
        return a * x_t

    target = two_half_steps(field, x, step, lambda x_t: x_t)
    half = step.size.double()[:, None, None] / 2
    torch.testing.assert_close(target, a * x * (1 + a * half / 2))
    torch.testing.assert_close(x + 2 * half * target, (1 + a * half) ** 2 * x)
    labels = [0.125, 0.5, 0.0]
    assert seen == [([0.25, 0.0, 15 / 16], labels), ([0.375, 0.5, 31 / 32], labels)]


def test_the_exact_shortcut_of_a_linear_field_is_consistent():
    """s(x, t, d) = (e^{a d} - 1) / d x solves dx/dt = a x in one step of any size: it is its own target."""
    x, a = torch.randn(2, 2, 4, dtype=torch.float64), 0.8

    def exact(x_t, t, d):
        d = d.double()[:, None, None]
        return torch.expm1(a * d) / d * x_t

    step = step_of((0.25, 0.25), (0.0, 1.0))
    target = two_half_steps(exact, x, step, lambda x_t: x_t)
    torch.testing.assert_close(target, exact(x, step.time, step.size))
    torch.testing.assert_close((x + target)[1], math.exp(a) * x[1])


def consistency_by_hand(decoder, one, noise, t, size, target_gradient=False, dropped=None):
    """Mean squared consistency error of one utterance, formula by formula."""
    context = context_of(decoder, one, dropped)

    def velocity(x_t, t, d):
        out = decoder.predict(x_t, torch.tensor([t]), context, one.lengths, torch.tensor([d]))
        return out if decoder.prediction == "velocity" else (out - x_t) / (1 - t)

    half, label = size / 2, 0.0 if size == 1 / 16 else size / 2
    x_t = t * one.target + (1 - t) * noise
    first = velocity(x_t, t, label)
    second = velocity(x_t + half * first, t + half, label)
    target = (first + second) / 2
    return (velocity(x_t, t, size) - (target if target_gradient else target.detach())).square().mean()


# Uniform numbers that make (t, 2d) = (1/2, 1/4) and (15/16, 1/16).
UNIFORMS = {"step_size": torch.tensor([0.5, 0.1]), "step_time": torch.tensor([0.6, 0.99])}
STEPS = [(0.5, 0.25), (15 / 16, 1 / 16)]


def gradients(decoder, loss):
    decoder.zero_grad()
    loss.backward()
    return {
        name: parameter.grad.clone() for name, parameter in decoder.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("prediction", ["velocity", "x"])
def test_consistency_term_and_its_stopped_gradient(name, prediction):
    decoder = randomise_step_size(small(name, prediction=prediction, shortcut=True))
    batch, noise, dropped = batch_of([5, 3]), torch.randn(2, 5, 8), torch.tensor([False, True])
    draws = FixedDraws(torch.rand(2), noise, dropped, share=torch.ones(2), **UNIFORMS)
    got = decoder.loss(batch, draws)

    def by_hand(target_gradient):
        return sum(
            weight
            * consistency_by_hand(
                decoder,
                row_of(batch, row),
                noise[row : row + 1, :length],
                *STEPS[row],
                target_gradient,
                dropped[row:][:1],
            )
            for row, (length, weight) in enumerate(((5, 5 / 8), (3, 3 / 8)))
        )

    torch.testing.assert_close(got.loss, by_hand(False))
    torch.testing.assert_close(got.stats["loss_consistency"], by_hand(False).detach() / 0.25)
    assert got.stats["loss_flow_matching"] == 0
    ours, stopped, flowing = (
        gradients(decoder, got.loss),
        gradients(decoder, by_hand(False)),
        gradients(decoder, by_hand(True)),
    )
    for parameter in stopped:
        torch.testing.assert_close(ours[parameter], stopped[parameter], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(flowing["output.weight"], stopped["output.weight"], rtol=1e-2)


@pytest.mark.parametrize("prediction", ["velocity", "x"])
def test_every_utterance_counts_alike_whatever_it_trains(prediction):
    decoder = randomise_step_size(small(prediction=prediction, shortcut=True))
    batch, noise, t = batch_of([5, 3]), torch.randn(2, 5, 8), torch.tensor([0.3, 0.97])
    for share in ([1.0, 0.0], [0.25, 0.25]):
        got = decoder.loss(batch, FixedDraws(t, noise, share=torch.tensor(share), **UNIFORMS))
        flow = consistency = 0.0
        for row, length in enumerate((5, 3)):
            one, eps = row_of(batch, row), noise[row : row + 1, :length]
            x_t = t[row] * one.target + (1 - t[row]) * eps
            out = decoder.predict(x_t, t[row : row + 1], context_of(decoder, one), one.lengths, torch.zeros(1))
            error = out - (one.target - eps) if prediction == "velocity" else (out - one.target) / max(1 - t[row], 0.05)
            flow = flow + (1 - share[row]) * error.square().sum() / 64
            consistency = consistency + share[row] * consistency_by_hand(decoder, one, eps, *STEPS[row]) * length / 8
        torch.testing.assert_close(got.loss, flow + consistency)
        torch.testing.assert_close(got.stats["loss_flow_matching"], flow.detach() / 0.75)
        torch.testing.assert_close(got.stats["loss_consistency"], consistency.detach() / 0.25)


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("share", [[1.0, 0.0], [1.0, 1.0]], ids=["both objectives", "consistency alone"])
def test_gradients_under_autocast_are_about_the_same(name, share):
    decoder, batch = randomise_step_size(small(name, shortcut=True)), batch_of([5, 3])
    draws = FixedDraws(torch.tensor([0.4, 0.6]), torch.randn(2, 5, 8), share=torch.tensor(share), **UNIFORMS)
    exact = gradients(decoder, decoder.loss(batch, draws).loss)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = decoder.loss(batch, draws).loss
    lower = gradients(decoder, loss)
    assert loss.dtype == torch.float32 and lower.keys() == exact.keys()
    for part in (
        "stack.blocks.0.feed_forward.up.weight",
        "output.weight",
        "mel_input.weight",
        "condition_input.weight",
    ):
        assert (lower[part] - exact[part]).norm() < 0.2 * exact[part].norm()


@pytest.mark.parametrize("name", ITERATIVE)
def test_refinement_starts_exactly_at_the_base(name):
    base, refined = small(name), small(name, seed=9, shortcut=True)
    result = refined.load_state_dict(base.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert {key.split(".")[0] for key in result.missing_keys} == set(refined.parts_added_in_refinement)
    batch, noise = batch_of([5, 3]), torch.randn(2, 5, 8)
    for steps in (1, 4, 16):
        one, two = (
            d.sample(batch.quantized, batch.lengths, noise, SamplingConfig(steps, 0.7)) for d in (base, refined)
        )
        assert torch.equal(one, two)
    loss = refined.loss(batch, TrainingDraws(2, CPU)).loss
    loss.backward()
    assert refined.step_size_embedding.mlp[-1].weight.grad.any()  # and it can leave


def test_sampling_tells_the_size_and_warns_once_of_others(monkeypatch, caplog):
    decoder, batch = randomise_step_size(small(shortcut=True)), batch_of([5, 3])
    predict, sizes = decoder.predict, []
    monkeypatch.setattr(decoder, "predict", lambda *a: sizes.append(a[4].tolist()) or predict(*a))
    shortcut._warn_untrained_size.cache_clear()
    for steps, size in ((1, 1.0), (2, 0.5), (4, 0.25), (8, 0.125), (16, 0.0625), (None, 0.0625)):
        sizes.clear()
        decoder.sample(batch.quantized, batch.lengths, torch.randn(2, 5, 8), SamplingConfig(steps))
        assert sizes == [[size, size]] * (steps or 16)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        for steps in (3, 3, 32):
            sizes.clear()
            decoder.sample(batch.quantized, batch.lengths, torch.randn(2, 5, 8), SamplingConfig(steps))
            assert sizes == [[0.0, 0.0]] * steps
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["3 steps", "32 steps"]


def test_validation_reports_both_terms_and_depends_on_the_utterance_alone():
    decoder = randomise_step_size(small(shortcut=True))
    batch = batch_of([5, 3])
    together = decoder.loss(batch, ValidationDraws(["a", "b"], CPU))
    again = decoder.loss(batch, ValidationDraws(["a", "b"], CPU))
    assert torch.equal(together.loss, again.loss)
    alone = [decoder.loss(row_of(batch, row), ValidationDraws([utt], CPU)) for row, utt in enumerate("ab")]
    torch.testing.assert_close(together.loss, (5 * alone[0].loss + 3 * alone[1].loss) / 8)
    terms = [together.stats[term] for term in ("loss_flow_matching", "loss_consistency")]
    assert min(terms) > 0
    torch.testing.assert_close(together.loss.detach(), 0.75 * terms[0] + 0.25 * terms[1])


@pytest.mark.parametrize("prediction", ["velocity", "x"])
def test_training_teaches_the_large_step(prediction, monkeypatch):
    """The mel is (1, 1) or (-1, -1), and no token tells which: the flow's first direction leads between the two.

    One step of the flow (d = 0) therefore ends near 0; one step of size 1 must end at one of the two.
    """
    size, updates = 128, 250
    torch.manual_seed(0)
    decoder = FlowMatchingDecoder(
        2, 2, num_layers=1, hidden_size=32, intermediate_size=64, num_heads=1, prediction=prediction, shortcut=True
    )
    tokens, one = torch.zeros(size, 1, 2), torch.ones(size, dtype=torch.long)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in range(updates):
        mel = (2.0 * torch.randint(2, (size, 1, 1)) - 1).expand(size, 1, 2)
        loss = decoder.loss(DecoderBatch(mel, tokens, one, torch.ones(size, 1, 1)), TrainingDraws(size, CPU)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    def reached():
        noise = torch.randn(size, 1, 2, generator=torch.Generator().manual_seed(1))
        return decoder.sample(tokens, one, noise, SamplingConfig(1)).abs().mean()

    assert reached() > 0.75
    monkeypatch.setattr(abs_flow_matching, "sampling_step_size", lambda steps: 0.0)
    assert reached() < 0.4
