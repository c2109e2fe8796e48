"""What a causal stack remembers between steps, and the attention that reads it.

Shapes: B batch, H heads, Q new positions, K = past + Q positions with keys, d head size.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_QUERY_BLOCK = 128


@dataclass(frozen=True)
class LayerCache:
    """keys, values: (B, H, past, d) each, the keys already rotated."""

    keys: Tensor
    values: Tensor

    def extend(self, keys: Tensor, values: Tensor) -> "LayerCache":
        """Both with (B, H, Q, d) more."""
        return LayerCache(torch.cat((self.keys, keys), dim=2), torch.cat((self.values, values), dim=2))

    def last(self, count: int) -> "LayerCache":
        """A copy of the last ``count`` positions: a view would keep the older ones in memory."""
        if count >= self.keys.size(2):
            return self
        start = self.keys.size(2) - count
        return LayerCache(self.keys[:, :, start:].clone(), self.values[:, :, start:].clone())


@dataclass(frozen=True)
class KVCache:
    """Immutable: a step returns a new one, so that a failed step loses nothing.

    layers: one :class:`LayerCache` a block, None before the first step.
    position: positions seen so far; a layer holds all of them, or with a window W the last W - 1.
    """

    layers: tuple[LayerCache | None, ...]
    position: int = 0

    def num_values(self) -> int:
        """Numbers held, over all layers."""
        return sum(layer.keys.numel() + layer.values.numel() for layer in self.layers if layer is not None)


def causal_attention(query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
    """Attention of the last Q of K positions to themselves and the past: (B, H, Q, d), (B, H, K, d) -> (B, H, Q, d).

    Without a window and without a past there is no mask tensor (DESIGN section 6, promise 1). With a window W, position
    t sees t - W + 1 .. t; queries go in blocks with just the keys they need, so that memory grows with K, not with K^2.
    """
    queries, past = query.size(2), key.size(2) - query.size(2)
    if window is None:
        if past == 0:
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=_band(past, queries, None, query.device))
    size = max(window, MIN_QUERY_BLOCK)
    blocks = []
    for start in range(0, queries, size):
        stop = min(start + size, queries)
        first = max(0, past + start - window + 1)
        mask = _band(past + start - first, stop - start, window, query.device)
        seen = slice(first, past + stop)
        blocks.append(
            F.scaled_dot_product_attention(query[:, :, start:stop], key[:, :, seen], value[:, :, seen], attn_mask=mask)
        )
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)


def _band(past: int, queries: int, window: int | None, device: torch.device) -> Tensor:
    """(Q, past + Q) bool: whether a query sees a key; the queries are the last Q positions."""
    age = (past + torch.arange(queries, device=device))[:, None] - torch.arange(past + queries, device=device)
    return age >= 0 if window is None else (age >= 0) & (age < window)
