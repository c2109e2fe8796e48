"""Generation: draws against their definitions, cache and batching against plain computation, ends and bounds."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_lm import SIZES, tiny_lm, utterances

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.generation import EMPTY, ENDED, RUNAWAY, GenerationRequest, generate
from sitok_espnet.speechlm.sampling import TokenSampling, _best, draw, draw_end
from sitok_espnet.speechlm.sequences import make_sequence


def draws(scores, count=4000, had=(), **options) -> Counter:
    generator = np.random.Generator(np.random.PCG64(1))
    sampling = TokenSampling(**options)
    return Counter(draw(torch.tensor(scores), had, sampling, generator) for _ in range(count))


def test_draws_follow_the_distribution():
    p = np.array([0.1, 0.6, 0.3])
    seen = draws(np.log(p).tolist())
    for index, share in enumerate(p):
        assert abs(seen[index] / 4000 - share) < 0.03
    hot = p**0.5 / (p**0.5).sum()
    seen = draws(np.log(p).tolist(), temperature=2.0)
    for index, share in enumerate(hot):
        assert abs(seen[index] / 4000 - share) < 0.03
    assert draws(np.log(p).tolist(), temperature=0, count=9) == {1: 9}


def test_truncation_and_penalty():
    scores = np.log([0.1, 0.5, 0.25, 0.15]).tolist()
    assert set(draws(scores, top_k=2)) == {1, 2}
    assert set(draws(scores, top_p=0.5)) == {1}
    assert set(draws(scores, top_p=0.51)) == {1, 2}
    assert set(draws(scores, top_k=3, top_p=0.8)) == {1, 2}  # of the three: 0.56, 0.28, 0.17
    assert set(draws([-np.inf, 0.0, -np.inf])) == {1}


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.999])
def test_the_best_of_many_codes_are_those_of_a_full_sort(top_p):
    p = np.random.default_rng(0).dirichlet(np.full(3000, 0.5))
    order = np.argsort(-p)
    wanted = set(order[: np.searchsorted(p[order].cumsum(), top_p) + 1].tolist())
    seen = draws(np.log(p).tolist(), top_p=top_p, count=300)
    assert set(seen) <= wanted and len(seen) > 20
    kept, which = _best(torch.from_numpy(p), TokenSampling(top_p=top_p))
    assert set(which.tolist()) == wanted
    torch.testing.assert_close(kept, torch.from_numpy(p)[which])


@pytest.mark.parametrize("shift", [0.0, 100.0, "log_softmax"])
def test_the_penalty_ends_a_confident_loop_whatever_constant_the_scores_carry(shift):
    """One of 1,025 codes has logit 12: p = 0.994."""
    logits = torch.zeros(1025, dtype=torch.double)
    logits[7] = 12.0
    mean = 12 / 1025
    expected = np.exp((12 - mean) / 2) / (np.exp((12 - mean) / 2) + 1024 * np.exp(-mean))
    scores = logits.log_softmax(0) if shift == "log_softmax" else logits + shift
    assert draws(scores.tolist(), count=400)[7] > 380
    share = draws(scores.tolist(), had=[7, 7], repetition_penalty=2.0)[7] / 4000
    assert expected < 0.3 and abs(share - expected) < 0.03
    below = draws([-1.0, 3.0, -2.0], temperature=0, had=[1], repetition_penalty=3.0, count=1)
    assert below == {1: 1}  # 3 / 3 is still the best of -1, 1, -2
    blocked = [-np.inf, *scores.tolist()]  # the end, which is drawn apart: not in the mean
    share = draws(blocked, had=[8], repetition_penalty=2.0)[8] / 4000
    assert abs(share - expected) < 0.03


def test_the_end_has_its_own_probability_and_is_the_best_when_greedy():
    log_p = torch.tensor([0.2, 0.5, 0.3]).log()
    generator = np.random.Generator(np.random.PCG64(1))
    for options in (TokenSampling(), TokenSampling(temperature=0.1), TokenSampling(top_k=1), TokenSampling(top_p=0.4)):
        share = np.mean([draw_end(log_p, 0, options, generator) for _ in range(4000)])
        assert abs(share - 0.2) < 0.03
    greedy = TokenSampling(temperature=0)
    assert [draw_end(log_p, end, greedy, generator) for end in range(3)] == [False, True, False]


@pytest.mark.parametrize(
    "name", ["temperature", "top_k", "top_p", "repetition_penalty", "cfg_scale", "max_frames", "max_length_ratio"]
)
def test_bad_options(name):
    with pytest.raises(SiTokError, match=name):
        TokenSampling(**{name: -1})


def requests(prompts=(3, 0, 5)) -> list[GenerationRequest]:
    return [
        GenerationRequest(pieces, codes[:length])
        for (pieces, codes), length in zip(utterances(len(prompts), seed=4), prompts, strict=True)
    ]


def model_that_ends(pattern: str, **changes):
    """A random model in which the end is likely enough to be drawn within a few frames."""
    model = tiny_lm(pattern=pattern, **changes)
    with torch.no_grad():
        model.lm.model.get_output_embeddings().weight.mul_(8)
    return model


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
@pytest.mark.parametrize("cfg_scale", [0.0, 1.5])
def test_a_batch_generates_what_each_generates_alone(pattern, cfg_scale):
    model, wanted = model_that_ends(pattern), requests()
    options = TokenSampling(cfg_scale=cfg_scale, max_frames=12, min_frames=0)
    together = generate(model, wanted, options, [3, 4, 5])
    assert len({len(result.codes) for result in together}) > 1  # rows leave the batch at different times
    for request, result, seed in zip(wanted, together, [3, 4, 5], strict=True):
        (alone,) = generate(model, [request], options, [seed])
        assert alone.status == result.status
        np.testing.assert_array_equal(alone.codes, result.codes)
    again = generate(model, wanted, options, [6, 7, 8])
    assert any(
        a.codes.shape != b.codes.shape or (a.codes != b.codes).any() for a, b in zip(again, together, strict=True)
    )


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
def test_greedy_codes_are_the_best_of_the_whole_sequence_without_a_cache(pattern):
    model, wanted = tiny_lm(pattern=pattern), requests()
    results = generate(model, wanted, TokenSampling(temperature=0, max_frames=6, min_frames=6), [0, 0, 0])
    for request, result in zip(wanted, results, strict=True):
        assert result.status != EMPTY and result.codes.shape == (6, len(SIZES))
        codes = torch.cat([request.prompt, torch.from_numpy(result.codes)])
        sequence = make_sequence(model.pattern, request.pieces, codes)
        mask = torch.ones(len(sequence), len(sequence), dtype=torch.bool).tril()[None, None]
        with torch.no_grad():
            hidden = model.hidden(sequence.inputs[None], mask, torch.arange(len(sequence))[None])[0]
        start = len(request.pieces) + 1
        checked = 0
        for step in range(len(sequence) - start):
            for due in model.pattern.due(step):
                if len(request.prompt) <= due.frame < len(codes):
                    choices = model.vocabulary.choices(due.codebook)
                    scores = model.lm.logits(hidden[start + step], choices)
                    if due.codebook == 0:
                        scores[0] = -torch.inf  # the end, before min_frames
                    assert choices[int(scores.argmax())] == sequence.targets[start + step, due.stream]
                    checked += 1
        assert checked == result.codes.size


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
def test_guidance_is_its_formula(pattern):
    """(1 + w) log p_text - w log p_null of the plain model, whatever the lengths of prompts in the batch."""
    model, wanted, weight = model_that_ends(pattern), requests((3, 0, 1)), 5.0
    options = TokenSampling(temperature=0, cfg_scale=weight, max_frames=6, min_frames=6)
    results = generate(model, wanted, options, [0, 0, 0])
    plain = generate(model, wanted, replace(options, cfg_scale=0.0), [0, 0, 0])
    assert any((a.codes != b.codes).any() for a, b in zip(results, plain, strict=True))
    with_null = 0
    for request, result in zip(wanted, results, strict=True):
        codes = torch.cat([request.prompt, torch.from_numpy(result.codes)])
        seen = []
        for pieces in (request.pieces, None):
            sequence = make_sequence(model.pattern, pieces, codes)
            mask = torch.ones(len(sequence), len(sequence), dtype=torch.bool).tril()[None, None]
            with torch.no_grad():
                hidden = model.hidden(sequence.inputs[None], mask, torch.arange(len(sequence))[None])[0]
            seen.append(hidden[1 if pieces is None else len(pieces) + 1 :])  # from <speech> on
        for step in range(len(seen[0])):
            for due in model.pattern.due(step):
                if len(request.prompt) <= due.frame < len(codes):
                    choices = model.vocabulary.choices(due.codebook)
                    text, null = (model.lm.logits(hidden[step], choices).double().log_softmax(-1) for hidden in seen)
                    scores = (1 + weight) * text - weight * null
                    if due.codebook == 0:
                        scores[0] = -torch.inf  # the end, before min_frames
                    code = int(codes[due.frame, due.codebook]) + (due.codebook == 0)
                    assert int(scores.argmax()) == code
                    with_null += int(text.argmax()) != code
    assert with_null > 3  # the null condition decides


def end_odds(model, pieces, prompt) -> float:
    """Log odds of the end right after a prompt; pieces None: without text."""
    sequence = make_sequence(model.pattern, pieces, prompt)
    mask = torch.ones(len(sequence), len(sequence), dtype=torch.bool).tril()[None, None]
    with torch.no_grad():
        hidden = model.hidden(sequence.inputs[None], mask, torch.arange(len(sequence))[None])[0]
        after = hidden[(0 if pieces is None else len(pieces)) + 1 + model.pattern.first_step(len(prompt))]
        p = float(model.lm.logits(after, model.vocabulary.choices(0)).double().softmax(-1)[0])
    return float(np.log(p / (1 - p)))


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
def test_the_end_is_drawn_as_often_as_the_model_says_whatever_is_made_of_the_codes(pattern):
    """Which utterances are empty: the same ones for the same seeds; guidance is of the odds."""
    model, (request, *_) = model_that_ends(pattern, seed=27), requests((3,))
    seeds = list(range(800))

    def empty(**change) -> list[bool]:
        options = TokenSampling(min_frames=0, max_frames=1, **change)
        return [result.status == EMPTY for result in generate(model, [request] * len(seeds), options, seeds)]

    odds = end_odds(model, request.pieces, request.prompt)
    plain = empty()
    assert abs(np.mean(plain) - 1 / (1 + np.exp(-odds))) < 0.03
    for change in ({"temperature": 0.3}, {"top_k": 1}, {"top_p": 0.2}):
        assert empty(**change) == plain
    guided = 11 * odds - 10 * end_odds(model, None, request.prompt)
    share = 1 / (1 + np.exp(-guided))
    assert abs(share - np.mean(plain)) > 0.08
    for change in ({}, {"temperature": 0.3}):
        assert abs(np.mean(empty(cfg_scale=10.0, **change)) - share) < 0.03


def test_lengths_are_of_the_end_alone_where_the_codes_do_not_matter():
    """All seven scores are equal after anything: the end has a seventh in every frame."""
    model = tiny_lm(sizes=(6,))
    with torch.no_grad():
        model.lm.model.get_output_embeddings().weight.zero_()
    request, seeds = GenerationRequest(torch.tensor([1]), torch.zeros(0, 1).long()), list(range(400))

    def lengths(**change) -> list[int]:
        options = TokenSampling(min_frames=0, max_frames=60, **change)
        return [len(result.codes) for result in generate(model, [request] * len(seeds), options, seeds)]

    plain = lengths()
    assert abs(np.mean(plain) - 6) < 1  # (1 - p) / p
    for change in ({"temperature": 0.2}, {"top_k": 1}, {"top_p": 0.3}, {"repetition_penalty": 4.0}, {"cfg_scale": 3.0}):
        assert lengths(**change) == plain


@pytest.mark.parametrize(
    ("ratio", "expected", "longest"),
    [(1.5, 4.0, 6), (1.5, 3.5, 6), (1.1, 10.0, 11), (0.1, 3.0, 2), (2.0, 40.0, 20), (1.5, None, 20), (None, 4.0, 20)],
)
def test_the_longest_length_is_a_ratio_of_the_expected_one_within_the_bounds(ratio, expected, longest):
    request = replace(requests((3,))[0], expected=expected)
    assert request.longest(TokenSampling(min_frames=2, max_frames=20, max_length_ratio=ratio)) == longest


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
def test_every_row_of_a_batch_stops_at_its_own_longest_length(pattern, monkeypatch):
    monkeypatch.setattr("sitok_espnet.speechlm.generation.draw_end", lambda *a: False)
    wanted = [replace(request, expected=frames) for request, frames in zip(requests(), (2.0, 7.5, None), strict=True)]
    options = TokenSampling(min_frames=0, max_frames=12, max_length_ratio=1.2)
    results = generate(tiny_lm(pattern=pattern), wanted, options, [3, 4, 5])
    assert [(len(result.codes), result.status) for result in results] == [(n, RUNAWAY) for n in (3, 9, 12)]


def test_guidance_needs_a_model_that_has_seen_the_null_condition():
    model = tiny_lm(model_conf={"text_drop": 0.0})
    with pytest.raises(SiTokError, match="text_drop 0"):
        generate(model, requests(), TokenSampling(cfg_scale=1.0), [0, 0, 0])
    assert generate(model, [], TokenSampling(), []) == []


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_diverged_model_is_an_error(temperature):
    model = tiny_lm()
    with torch.no_grad():
        model.lm.model.get_output_embeddings().weight.fill_(torch.nan)
    with pytest.raises(SiTokError, match="NaN"):
        generate(model, requests(), TokenSampling(temperature=temperature), [0, 0, 0])


@pytest.mark.parametrize("frames", [0, 1, 4])
def test_an_end_that_the_model_chose_is_no_run_away(frames):
    """All scores are equal, so the best is the first choice: the end."""
    model = tiny_lm(sizes=(6,))
    with torch.no_grad():
        model.lm.model.get_output_embeddings().weight.zero_()
    options = TokenSampling(temperature=0, min_frames=frames, max_frames=max(frames, 1))
    (result,) = generate(model, [GenerationRequest(torch.tensor([1]), torch.zeros(0, 1).long())], options, [0])
    assert len(result.codes) == frames and result.status == (ENDED if frames else EMPTY)


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
def test_ends_bounds_and_their_names(pattern):
    model, wanted = model_that_ends(pattern), requests()
    seen = [
        result
        for seed in range(0, 90, 3)
        for result in generate(model, wanted, TokenSampling(max_frames=5, min_frames=0), [seed, seed + 1, seed + 2])
    ]
    assert {result.status for result in seen} == {ENDED, RUNAWAY, EMPTY}
    for result in seen:
        assert (result.status == EMPTY) == (len(result.codes) == 0)
        assert result.status != RUNAWAY or len(result.codes) == 5
        assert (result.codes >= 0).all() and (result.codes < np.array(SIZES)).all()
    for result in generate(model, wanted, TokenSampling(max_frames=9, min_frames=7), [1, 2, 3]):
        assert 7 <= len(result.codes) <= 9
    with pytest.raises(SiTokError, match="expected"):
        generate(
            model, [GenerationRequest(torch.tensor([1]), torch.zeros(2, 3, dtype=torch.long))], TokenSampling(), [0]
        )
    with pytest.raises(SiTokError, match="3 utterances to generate, but 1 seeds"):
        generate(model, wanted, TokenSampling(), [0])
