"""Llama-style transformer: RMSNorm, rotary positions, SwiGLU (PAPER section 1: encoder, decoder and CTC decoder).

Shapes: B batch, T positions, D model width, H heads. Sequences are padded on the right only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitok_espnet.nn.kv_cache import KVCache, LayerCache, causal_attention
from sitok_espnet.nn.masks import valid_mask
from sitok_espnet.nn.norm import AdaptiveRMSNorm, RMSNorm

ROPE_BASE = 10000.0


class RotaryEmbedding(nn.Module):
    """Cosines and sines of rotary position embedding (RoFormer, arXiv 2104.09864), split-half layout."""

    def __init__(self, head_size: int):
        super().__init__()
        if head_size % 2:
            raise ValueError(f"rotary positions need an even head size, got {head_size}: change num_heads")
        inverse = ROPE_BASE ** (-torch.arange(0, head_size, 2, dtype=torch.float32) / head_size)
        self.register_buffer("inverse_frequency", inverse, persistent=False)

    def forward(self, length: int, start: int = 0) -> tuple[Tensor, Tensor]:
        """(cos, sin) of positions ``start`` .. ``start + length - 1``, each (length, head_size / 2), fp32.

        The angles are computed in float64: in fp32 those of the millionth position (22 hours of tokens) are off by
        up to 0.03, and attention would no longer depend on the distance alone.
        """
        device = self.inverse_frequency.device
        positions = torch.arange(start, start + length, device=device, dtype=torch.float64)
        angles = torch.outer(positions, self.inverse_frequency.double())
        return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (B, H, T, head_size) by the angles of its positions; computed in fp32, returned in x's dtype."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions, no biases; a window W hides what lies W or more back."""

    def __init__(self, hidden_size: int, num_heads: int, causal: bool, window: int | None = None):
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.causal = causal
        self.window = window
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) -> (B, T, D); ``mask`` (B, 1, 1, T) is true at positions that a non-causal layer attends to."""
        query, key, value = self._project(x, cos, sin)
        if self.causal:
            return self._merge(causal_attention(query, key, value, self.window))
        return self._merge(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))

    def step(self, x: Tensor, cos: Tensor, sin: Tensor, past: LayerCache | None) -> tuple[Tensor, LayerCache]:
        """The next (B, t, D) of a causal sequence -> the same rows as ``forward`` on all of it, and the new past."""
        query, key, value = self._project(x, cos, sin)
        seen = LayerCache(key, value) if past is None else past.extend(key, value)
        out = self._merge(causal_attention(query, seen.keys, seen.values, self.window))
        return out, seen if self.window is None else seen.last(self.window - 1)

    def _project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D) -> rotated query, rotated key, value, each (B, H, T, head_size)."""
        batch, length, _ = x.shape
        split = self.query_key_value(x).view(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        return rotate(query, cos, sin), rotate(key, cos, sin), value

    def _merge(self, heads: Tensor) -> Tensor:
        """(B, H, T, head_size) -> (B, T, D)."""
        return self.output(heads.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """Gated feed-forward ``down(silu(gate(x)) * up(x))`` (arXiv 2002.05202), no biases."""

    def __init__(self, hidden_size: int, intermediate_size: int):
        super().__init__()
        self.gate = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class LlamaBlock(nn.Module):
    """Pre-norm attention and feed-forward with residuals; ``adaptive`` norms follow a step embedding."""

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        num_heads: int,
        causal: bool,
        adaptive: bool,
        window: int | None = None,
    ):
        super().__init__()
        norm = AdaptiveRMSNorm if adaptive else RMSNorm
        self.attention_norm = norm(hidden_size)
        self.attention = Attention(hidden_size, num_heads, causal, window)
        self.feed_forward_norm = norm(hidden_size)
        self.feed_forward = SwiGLU(hidden_size, intermediate_size)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, condition: tuple[Tensor, ...]
    ) -> Tensor:
        """(B, T, D) -> (B, T, D); ``condition`` is empty or holds the step embedding (B, D)."""
        x = x + self.attention(self.attention_norm(x, *condition), cos, sin, mask)
        return x + self.feed_forward(self.feed_forward_norm(x, *condition))

    def step(self, x: Tensor, cos: Tensor, sin: Tensor, past: LayerCache | None) -> tuple[Tensor, LayerCache]:
        """The next (B, t, D) of a causal sequence, without a step embedding -> (B, t, D) and the new past."""
        attended, past = self.attention.step(self.attention_norm(x), cos, sin, past)
        x = x + attended
        return x + self.feed_forward(self.feed_forward_norm(x)), past


class LlamaStack(nn.Module):
    """``num_layers`` blocks and a final norm.

    Args:
        num_layers: number of blocks.
        hidden_size: model width D.
        intermediate_size: width of the SwiGLU.
        num_heads: attention heads.
        causal: position t sees positions 0..t. No mask tensor is built then: right padding cannot reach the left,
            so that an utterance gives the same result alone and in any batch (DESIGN section 6, promise 1).
        adaptive: every norm becomes an :class:`AdaptiveRMSNorm` driven by a step embedding.
        attention_window: W of a causal stack: in every layer position t sees t - W + 1 .. t only; None sees 0 .. t.
    """

    def __init__(
        self,
        num_layers: int,
        hidden_size: int,
        intermediate_size: int,
        num_heads: int,
        causal: bool,
        adaptive: bool = False,
        attention_window: int | None = None,
    ):
        super().__init__()
        if attention_window is not None and not causal:
            raise ValueError("attention_window needs a causal stack")
        if attention_window is not None and attention_window < 1:
            raise ValueError(f"attention_window must be at least 1, got {attention_window}")
        self.causal = causal
        self.attention_window = attention_window
        self.blocks = nn.ModuleList(
            LlamaBlock(hidden_size, intermediate_size, num_heads, causal, adaptive, attention_window)
            for _ in range(num_layers)
        )
        self.final_norm = AdaptiveRMSNorm(hidden_size) if adaptive else RMSNorm(hidden_size)
        self.rotary = RotaryEmbedding(hidden_size // num_heads)

    def forward(self, x: Tensor, lengths: Tensor | None = None, step_embedding: Tensor | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D).

        ``lengths`` (B,) hides right padding from a non-causal stack; ``step_embedding`` (B, D) drives adaptive norms.
        The residual stream is kept in fp32, also under autocast.
        """
        x = x.float()
        cos, sin = self.rotary(x.size(1))
        mask = None
        if lengths is not None and not self.causal:
            mask = valid_mask(lengths, x.size(1))[:, None, None, :]
        condition = () if step_embedding is None else (step_embedding,)
        for block in self.blocks:
            x = block(x, cos, sin, mask, condition)
        return self.final_norm(x, *condition)

    def initial_cache(self) -> KVCache:
        """The state before the first step of a causal, non-adaptive stack."""
        if not self.causal or isinstance(self.final_norm, AdaptiveRMSNorm):
            raise ValueError("only a causal stack without step embedding can go step by step")
        return KVCache((None,) * len(self.blocks))

    def step(self, x: Tensor, cache: KVCache) -> tuple[Tensor, KVCache]:
        """The next t positions (B, t, D), t >= 1, of a sequence -> (B, t, D) and the state after them.

        The outputs of successive steps are the rows of ``forward`` on the whole sequence, up to rounding, however it is
        cut. Memory is bounded with an attention window, else it grows with the sequence.
        """
        x = x.float()
        cos, sin = self.rotary(x.size(1), cache.position)
        layers = []
        for block, past in zip(self.blocks, cache.layers, strict=True):
            x, past = block.step(x, cos, sin, past)
            layers.append(past)
        return self.final_norm(x), KVCache(tuple(layers), cache.position + x.size(1))
