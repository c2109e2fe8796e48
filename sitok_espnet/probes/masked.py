"""Convolutions and statistics over time that ignore right padding: a probe's result does not depend on its batch.

ESPnet's speaker encoders (espnet2.spk) take no lengths and normalise over the batch, so that padding changes their
results; hence these. Every layer sees zeros beyond the end of an utterance, as a convolution of the utterance alone
would, and LayerNorm over channels stands where the publications have batch normalisation.

Shapes: x (B, T, C), mask (B, T, 1) with 1 at valid frames and 0 elsewhere.
"""

import torch
from torch import Tensor, nn

from sitok_espnet.nn.masks import valid_mask

VARIANCE_FLOOR = 1e-5


def time_mask(lengths: Tensor, x: Tensor) -> Tensor:
    """(B,) lengths -> (B, T, 1) mask of x's dtype."""
    return valid_mask(lengths, x.size(1))[:, :, None].to(x.dtype)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over valid frames: (B, T, C) -> (B, C)."""
    return (x * mask).sum(dim=1) / mask.sum(dim=1)


def weighted_statistics(x: Tensor, weights: Tensor) -> Tensor:
    """Mean and deviation over time under weights (B, T, C or 1) that sum to one: (B, T, C) -> (B, 2 C)."""
    mean = (weights * x).sum(dim=1)
    variance = (weights * (x - mean[:, None]).square()).sum(dim=1)
    return torch.cat([mean, variance.clamp_min(VARIANCE_FLOOR).sqrt()], dim=-1)


def masked_statistics(x: Tensor, mask: Tensor) -> Tensor:
    """Mean and deviation over valid frames: (B, T, C) -> (B, 2 C)."""
    return weighted_statistics(x, mask / mask.sum(dim=1, keepdim=True))


class MaskedConv(nn.Module):
    """Convolution over time with zeros around the utterance ("same" length): (B, T, C) -> (B, T, C')."""

    def __init__(self, input_size: int, output_size: int, kernel_size: int, dilation: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv1d(
            input_size, output_size, kernel_size, dilation=dilation, padding="same", groups=groups, bias=True
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.conv((x * mask).transpose(1, 2)).transpose(1, 2)


class TimeDelay(nn.Module):
    """Convolution, ReLU, LayerNorm: one TDNN layer."""

    def __init__(self, input_size: int, output_size: int, kernel_size: int, dilation: int = 1):
        super().__init__()
        self.conv = MaskedConv(input_size, output_size, kernel_size, dilation)
        self.norm = nn.LayerNorm(output_size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.norm(torch.relu(self.conv(x, mask)))


class SqueezeExcite(nn.Module):
    """Channels scaled by what their means over the utterance say (arXiv 1709.01507)."""

    def __init__(self, size: int, bottleneck: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(size, bottleneck), nn.ReLU(), nn.Linear(bottleneck, size), nn.Sigmoid())

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x * self.layers(masked_mean(x, mask))[:, None]
