"""Llama-style transformer: RMSNorm, rotary positions, SwiGLU (PAPER section 1: encoder, decoder and CTC decoder).

Shapes: B batch, T positions, D model width, H heads. Sequences are padded on the right only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """Return (cos, sin), each (length, head_size / 2), always in fp32."""
        positions = torch.arange(length, device=self.inverse_frequency.device, dtype=torch.float32)
        angles = torch.outer(positions, self.inverse_frequency.float())
        return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (B, H, T, head_size) by the angles of its positions; computed in fp32, returned in x's dtype."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions, no biases."""

    def __init__(self, hidden_size: int, num_heads: int, causal: bool):
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.causal = causal
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) -> (B, T, D); ``mask`` (B, 1, 1, T) is true at positions that may be attended to."""
        batch, length, width = x.shape
        split = self.query_key_value(x).view(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=self.causal)
        return self.output(out.transpose(1, 2).reshape(batch, length, width))


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

    def __init__(self, hidden_size: int, intermediate_size: int, num_heads: int, causal: bool, adaptive: bool):
        super().__init__()
        norm = AdaptiveRMSNorm if adaptive else RMSNorm
        self.attention_norm = norm(hidden_size)
        self.attention = Attention(hidden_size, num_heads, causal)
        self.feed_forward_norm = norm(hidden_size)
        self.feed_forward = SwiGLU(hidden_size, intermediate_size)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, condition: tuple[Tensor, ...]
    ) -> Tensor:
        """(B, T, D) -> (B, T, D); ``condition`` is empty or holds the step embedding (B, D)."""
        x = x + self.attention(self.attention_norm(x, *condition), cos, sin, mask)
        return x + self.feed_forward(self.feed_forward_norm(x, *condition))


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
    """

    def __init__(
        self,
        num_layers: int,
        hidden_size: int,
        intermediate_size: int,
        num_heads: int,
        causal: bool,
        adaptive: bool = False,
    ):
        super().__init__()
        self.causal = causal
        self.blocks = nn.ModuleList(
            LlamaBlock(hidden_size, intermediate_size, num_heads, causal, adaptive) for _ in range(num_layers)
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
