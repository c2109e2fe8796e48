"""ECAPA-TDNN (arXiv 2005.07143) with masks; sizes are options."""

import torch
from torch import Tensor, nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.probes.body.abs_body import AbsBody
from sitok_espnet.probes.masked import (
    SqueezeExcite,
    TimeDelay,
    masked_statistics,
    time_mask,
    weighted_statistics,
)

DILATIONS = (2, 3, 4)


class _Res2Block(nn.Module):
    """1x1 layer, chain of convolutions over parts of the channels, 1x1 layer, squeeze-and-excitation, residual."""

    def __init__(self, size: int, dilation: int, scale: int):
        super().__init__()
        part = size // scale
        self.first = TimeDelay(size, size, 1)
        self.chain = nn.ModuleList(TimeDelay(part, part, 3, dilation) for _ in range(scale - 1))
        self.last = TimeDelay(size, size, 1)
        self.excite = SqueezeExcite(size, max(size // 8, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        head, *parts = self.first(x, mask).chunk(len(self.chain) + 1, dim=-1)
        outputs, before = [head], 0.0
        for layer, part in zip(self.chain, parts, strict=True):
            before = layer(part + before, mask)
            outputs.append(before)
        return x + self.excite(self.last(torch.cat(outputs, dim=-1), mask), mask)


class _AttentiveStatistics(nn.Module):
    """Mean and deviation under an attention of each channel, which also knows the utterance's statistics."""

    def __init__(self, size: int, attention_size: int):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(3 * size, attention_size), nn.Tanh(), nn.Linear(attention_size, size))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        context = masked_statistics(x, mask)[:, None].expand(-1, x.size(1), -1)
        scores = self.score(torch.cat([x, context], dim=-1)).masked_fill(mask == 0, float("-inf"))
        return weighted_statistics(x, scores.softmax(dim=1))


class EcapaTdnn(AbsBody):
    """(B, T, D) -> (B, embedding_size).

    Args:
        input_size: D (given by the model).
        channels: of the three blocks, a multiple of scale; the publication's smaller size has 512.
        scale: parts of a block's channels (Res2Net).
        attention_size: of the pooling.
        embedding_size: 192 in the publication.
        dropout: of the pooled statistics.
    """

    pools = True

    def __init__(
        self,
        input_size: int,
        channels: int = 512,
        scale: int = 8,
        attention_size: int = 128,
        embedding_size: int = 192,
        dropout: float = 0.0,
    ):
        super().__init__()
        if channels % scale:
            raise SiTokError(f"body_conf channels ({channels}) must be a multiple of scale ({scale})")
        self.input = TimeDelay(input_size, channels, 5)
        self.blocks = nn.ModuleList(_Res2Block(channels, dilation, scale) for dilation in DILATIONS)
        pooled = len(DILATIONS) * channels
        self.aggregate = TimeDelay(pooled, pooled, 1)
        self.pool = _AttentiveStatistics(pooled, attention_size)
        self.output = nn.Sequential(
            nn.LayerNorm(2 * pooled), nn.Dropout(dropout), nn.Linear(2 * pooled, embedding_size)
        )
        self.size = embedding_size

    def output_size(self) -> int:
        return self.size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        mask = time_mask(lengths, x)
        x = self.input(x, mask)
        outputs, total = [], x
        for block in self.blocks:  # each reads the sum of all before it
            outputs.append(block(total, mask))
            total = total + outputs[-1]
        return self.output(self.pool(self.aggregate(torch.cat(outputs, dim=-1), mask), mask))
