"""Steps with a cache and attention windows of causal stacks, against the whole sequence and a plain formula."""

import pytest
import torch

from sitok_espnet.nn import kv_cache
from sitok_espnet.nn.kv_cache import causal_attention
from sitok_espnet.nn.llama import Attention, LlamaStack, RotaryEmbedding, rotate

WINDOW = 6


def make_stack(window, num_layers=3, seed=0):
    torch.manual_seed(seed)
    return LlamaStack(num_layers, 16, 24, 2, causal=True, attention_window=window).eval()


def run_steps(stack, x, sizes):
    cache, out = stack.initial_cache(), []
    for part in x.split(sizes, dim=1):
        y, cache = stack.step(part, cache)
        out.append(y)
    return torch.cat(out, dim=1), cache


@pytest.mark.parametrize("window", [None, 1, 2, 5, 100])
@pytest.mark.parametrize("past", [0, 7])
def test_attention_equals_softmax_over_the_visible_keys(window, past, monkeypatch):
    monkeypatch.setattr(kv_cache, "MIN_QUERY_BLOCK", 4)  # several blocks of queries
    torch.manual_seed(1)
    query, key, value = torch.randn(2, 3, 11, 4), torch.randn(2, 3, past + 11, 4), torch.randn(2, 3, past + 11, 4)
    out = causal_attention(query, key, value, window)
    for i in range(11):
        position = past + i
        first = 0 if window is None else max(0, position - window + 1)
        seen = slice(first, position + 1)
        scores = torch.einsum("bhd,bhkd->bhk", query[:, :, i], key[:, :, seen]) / 2.0
        expected = torch.einsum("bhk,bhkd->bhd", scores.softmax(-1), value[:, :, seen])
        torch.testing.assert_close(out[:, :, i], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("window", [None, 1, WINDOW, 1000])
@pytest.mark.parametrize("sizes", [[1] * 40, [3, 1, 20, 16], [40], [39, 1]])
def test_steps_equal_the_whole_sequence(window, sizes):
    stack, x = make_stack(window), torch.randn(2, 40, 16)  # 40 positions are more than three windows in each layer
    whole = stack(x)
    stepped, cache = run_steps(stack, x, sizes)
    torch.testing.assert_close(stepped, whole, atol=2e-6, rtol=1e-5)
    assert cache.position == 40


def test_window_reaches_exactly_as_far_as_its_layers():
    stack, x = make_stack(WINDOW, num_layers=2), torch.randn(1, 30, 16)
    reach = 2 * (WINDOW - 1)
    for target in (12, 29):
        inside, outside = x.clone(), x.clone()
        inside[:, target - reach] += 1.0
        outside[:, : target - reach] += 1.0
        assert not torch.equal(stack(inside)[:, target], stack(x)[:, target])
        torch.testing.assert_close(stack(outside)[:, target], stack(x)[:, target], atol=0, rtol=0)


def test_window_as_long_as_the_sequence_changes_nothing():
    x = torch.randn(2, 20, 16)
    torch.testing.assert_close(make_stack(20)(x), make_stack(None)(x), atol=2e-6, rtol=1e-5)
    assert make_stack(19)(x).sub(make_stack(None)(x)).abs()[:, :19].max() < 1e-5
    assert make_stack(19)(x).sub(make_stack(None)(x)).abs()[:, 19].max() > 1e-4


def test_windowed_stack_ignores_the_batch_and_right_padding():
    stack, x = make_stack(WINDOW), torch.randn(3, 300, 16)
    padded = torch.cat((x, 50 * torch.randn(3, 177, 16)), dim=1)
    torch.testing.assert_close(stack(padded)[1, :300], stack(x[1:2])[0], atol=2e-6, rtol=1e-5)


def test_window_changes_no_parameter_name():
    assert make_stack(None).state_dict().keys() == make_stack(WINDOW).state_dict().keys()


def test_cache_is_bounded_by_the_window():
    stack = make_stack(WINDOW)
    _, cache = run_steps(stack, torch.randn(2, 50, 16), [1, 30, 1, 1, 17])
    for layer in cache.layers:
        assert layer.keys.shape == layer.values.shape == (2, 2, WINDOW - 1, 8)
        # Not a view of something longer, either.
        assert layer.keys.untyped_storage().nbytes() == layer.keys.numel() * 4
    assert cache.num_values() == 3 * 2 * (2 * 2 * (WINDOW - 1) * 8)
    _, growing = run_steps(make_stack(None), torch.randn(1, 50, 16), [25, 25])
    assert growing.layers[0].keys.size(2) == 50


def test_a_step_does_not_change_its_state():
    stack = make_stack(WINDOW)
    _, cache = run_steps(stack, torch.randn(1, 9, 16), [9])
    x = torch.randn(1, 4, 16)
    first, _ = stack.step(x, cache)
    second, _ = stack.step(x, cache)
    torch.testing.assert_close(first, second, atol=0, rtol=0)


@pytest.mark.parametrize("start", [1_000_003, 400_000_000])
def test_only_relative_positions_matter_after_hours_and_years(start):
    """12.5 tokens a second reach a million positions after 22 hours."""
    torch.manual_seed(2)
    layer, x = Attention(64, 1, causal=True, window=WINDOW), torch.randn(1, 40, 64)
    rotary = RotaryEmbedding(64)
    near, _ = layer.step(x, *rotary(40), None)
    far, _ = layer.step(x, *rotary(40, start), None)
    torch.testing.assert_close(far, near, atol=2e-6, rtol=1e-5)
    query, key = torch.randn(1, 1, 1, 64), torch.randn(1, 1, 1, 64)

    def score(q, k):
        return (rotate(query, *rotary(1, q)) * rotate(key, *rotary(1, k))).sum()

    torch.testing.assert_close(score(start + 5, start), score(5, 0), atol=2e-5, rtol=1e-5)


def test_a_stream_after_a_million_positions_equals_one_from_the_start():
    from dataclasses import replace

    stack, x = make_stack(WINDOW), torch.randn(1, 30, 16)
    late = replace(stack.initial_cache(), position=2_000_000)
    first, late = stack.step(x[:, :13], late)
    second, late = stack.step(x[:, 13:], late)
    torch.testing.assert_close(torch.cat((first, second), 1), stack(x), atol=5e-6, rtol=1e-5)
    assert late.position == 2_000_030


def test_windowed_memory_does_not_grow_with_the_square_of_the_length(monkeypatch):
    asked = []
    original = torch.nn.functional.scaled_dot_product_attention

    def spy(query, key, value, **options):
        asked.append(query.size(2) * key.size(2))
        return original(query, key, value, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    make_stack(WINDOW, num_layers=1)(torch.randn(1, 5000, 16))
    assert max(asked) <= 128 * (128 + WINDOW) and sum(asked) < 5000 * (128 + WINDOW)


def test_refused_stacks():
    with pytest.raises(ValueError, match="needs a causal stack"):
        LlamaStack(1, 16, 24, 2, causal=False, attention_window=4)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        LlamaStack(1, 16, 24, 2, causal=True, attention_window=0)
    for options in ({"causal": False}, {"causal": True, "adaptive": True}):
        with pytest.raises(ValueError, match="step by step"):
            LlamaStack(1, 16, 24, 2, **options).initial_cache()
