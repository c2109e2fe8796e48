"""The Llama block against plain formulas and against transformers' Llama."""

import math

import pytest
import torch

from sitok_espnet.nn.llama import Attention, LlamaStack, RotaryEmbedding, rotate
from sitok_espnet.nn.masks import valid_mask
from sitok_espnet.nn.norm import AdaptiveRMSNorm, RMSNorm


def test_rms_norm_formula():
    torch.manual_seed(0)
    x, norm = torch.randn(2, 3, 8), RMSNorm(8)
    norm.gain.data.uniform_()
    expected = x / (x.pow(2).sum(-1, keepdim=True) / 8 + 1e-6).sqrt() * norm.gain
    torch.testing.assert_close(norm(x), expected)


def test_adaptive_norm_starts_as_plain_norm_and_follows_the_step():
    x, step = torch.randn(2, 3, 8), torch.randn(2, 8)
    norm = AdaptiveRMSNorm(8)
    torch.testing.assert_close(norm(x, step), RMSNorm(8)(x))
    torch.nn.init.normal_(norm.to_gain.weight)
    expected = RMSNorm(8)(x) * (step @ norm.to_gain.weight.T + 1.0)[:, None]
    torch.testing.assert_close(norm(x, step), expected)


def test_rope_is_a_complex_rotation():
    """Pair (i, i + d/2) as a complex number times exp(i * position * 10000^(-2i/d))."""
    x = torch.randn(1, 1, 7, 6, dtype=torch.float32)
    cos, sin = RotaryEmbedding(6)(7)
    expected = x.clone()
    for position in range(7):
        for pair in range(3):
            angle = position * 10000 ** (-2 * pair / 6)
            value = complex(x[0, 0, position, pair], x[0, 0, position, pair + 3]) * complex(
                math.cos(angle), math.sin(angle)
            )
            expected[0, 0, position, pair], expected[0, 0, position, pair + 3] = value.real, value.imag
    torch.testing.assert_close(rotate(x, cos, sin), expected)


@pytest.mark.parametrize("causal", [True, False])
def test_attention_against_a_loop(causal):
    torch.manual_seed(1)
    width, heads, length, valid = 12, 3, 5, 4
    layer, x = Attention(width, heads, causal), torch.randn(1, length, width)
    cos, sin = RotaryEmbedding(width // heads)(length)
    mask = None if causal else valid_mask(torch.tensor([valid]), length)[:, None, None, :]
    query, key, value = (x @ layer.query_key_value.weight.T)[0].split(width, dim=-1)
    rows = []
    for position in range(length):
        seen = range(position + 1) if causal else range(valid)
        parts = []
        for head in range(heads):
            part = slice(head * 4, head * 4 + 4)

            def turned(v, p, part=part):
                return rotate(v[None, None, p : p + 1, part], cos[p : p + 1], sin[p : p + 1])[0, 0, 0]

            scores = torch.stack([turned(query, position) @ turned(key, p) / 2.0 for p in seen]).softmax(0)
            parts.append(sum(s * value[p, part] for s, p in zip(scores, seen, strict=True)))
        rows.append(torch.cat(parts))
    expected = torch.stack(rows) @ layer.output.weight.T
    torch.testing.assert_close(layer(x, cos, sin, mask)[0], expected, atol=1e-5, rtol=1e-5)


def test_stack_equals_transformers_llama():
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(2)
    stack = LlamaStack(num_layers=2, hidden_size=16, intermediate_size=24, num_heads=2, causal=True)
    config = LlamaConfig(
        vocab_size=4,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        rms_norm_eps=1e-6,
    )
    reference = LlamaModel(config).eval()
    for ours, theirs in zip(stack.blocks, reference.layers, strict=True):
        qkv = ours.attention.query_key_value.weight.data.split(16)
        for projection, weight in zip(("q_proj", "k_proj", "v_proj"), qkv, strict=True):
            getattr(theirs.self_attn, projection).weight.data = weight
        theirs.self_attn.o_proj.weight.data = ours.attention.output.weight.data
        theirs.mlp.gate_proj.weight.data = ours.feed_forward.gate.weight.data
        theirs.mlp.up_proj.weight.data = ours.feed_forward.up.weight.data
        theirs.mlp.down_proj.weight.data = ours.feed_forward.down.weight.data
    x = torch.randn(2, 9, 16)
    torch.testing.assert_close(stack(x), reference(inputs_embeds=x).last_hidden_state, atol=1e-5, rtol=1e-5)


def test_causal_stack_ignores_the_future_and_right_padding():
    torch.manual_seed(3)
    stack = LlamaStack(2, 16, 32, 2, causal=True)
    x = torch.randn(1, 10, 16)
    changed = x.clone()
    changed[:, 6:] = torch.randn(1, 4, 16)
    torch.testing.assert_close(stack(x)[:, :6], stack(changed)[:, :6])
    assert not torch.allclose(stack(x)[:, 6:], stack(changed)[:, 6:])


def test_non_causal_stack_sees_everything_but_padding():
    torch.manual_seed(4)
    stack = LlamaStack(2, 16, 32, 2, causal=False)
    x, lengths = torch.randn(2, 8, 16), torch.tensor([8, 5])
    padded = x.clone()
    padded[1, 5:] = 100.0
    torch.testing.assert_close(stack(padded, lengths)[1, :5], stack(x[1:, :5])[0])
    future = x[:1].clone()
    future[:, -1] += 1.0
    assert not torch.allclose(stack(x[:1])[:, 0], stack(future)[:, 0])


def test_impossible_head_sizes_are_refused():
    with pytest.raises(ValueError, match="num_heads"):
        LlamaStack(1, 10, 8, 3, causal=True)
    with pytest.raises(ValueError, match="even head size"):
        LlamaStack(1, 9, 8, 3, causal=True)
