"""Codes to vectors, as DASB's probes do: an embedding table a codebook and attention over the codebooks."""

import torch
from torch import Tensor, nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.probes.adapter.abs_adapter import AbsAdapter
from sitok_espnet.probes.card import InputCard
from sitok_espnet.tokens import layer_offsets

COMBINE = ("attention", "weights")


class TokenAdapter(AbsAdapter):
    """One learned table for each codebook, started at random; the N vectors of a frame are summed under weights.

    Args:
        card: codebook sizes (given by the model).
        size: D.
        combine: "attention", weights from an MLP of each vector (Linear(D, D), ReLU, Linear(D, 1), softmax over the
            codebooks; DASB, arXiv 2406.14294), or "weights", one learned weight a codebook for all frames (ours).
        dropout: of the sum.
    """

    def __init__(self, card: InputCard, size: int = 256, combine: str = "attention", dropout: float = 0.0):
        super().__init__()
        if combine not in COMBINE:
            raise SiTokError(f"input_adapter_conf combine must be {' or '.join(COMBINE)}, got {combine!r}")
        sizes = card.codebook_sizes
        self.size = size
        self.table = nn.Embedding(sum(sizes), size)
        self.register_buffer("offsets", torch.from_numpy(layer_offsets(sizes)), persistent=False)
        self.score = None
        if combine == "attention":
            self.score = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 1, bias=False))
        self.weights = nn.Parameter(torch.zeros(len(sizes))) if combine == "weights" else None
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def accepts(cls, card: InputCard) -> bool:
        return card.is_tokens

    def output_size(self) -> int:
        return self.size

    def forward(self, x: Tensor) -> Tensor:
        """Codes (B, T, N), negative in padding -> (B, T, D)."""
        vectors = self.table(x.clamp_min(0) + self.offsets)
        scores = self.weights[:, None] if self.score is None else self.score(vectors)
        return self.dropout((scores.softmax(dim=-2) * vectors).sum(dim=-2))
