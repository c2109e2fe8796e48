"""Embedding of the diffusion time."""

import math

import torch
from torch import Tensor, nn

TIME_SCALE = 1000.0
MAX_PERIOD = 10000.0


def sinusoidal(t: Tensor, size: int) -> Tensor:
    """Sinusoidal features of ``1000 t`` (DESIGN section 8): t (B,) in [0, 1] -> (B, size), fp32, cosines first."""
    half = size // 2
    frequencies = torch.exp(-math.log(MAX_PERIOD) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angles = TIME_SCALE * t.float()[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class StepEmbedding(nn.Module):
    """Sinusoidal features through Linear(D, 4D), SiLU, Linear(4D, D) (PAPER section 3: 1536 -> 6144 -> 1536)."""

    def __init__(self, size: int):
        super().__init__()
        if size % 2:
            raise ValueError(f"the step embedding needs an even width, got {size}")
        self.size = size
        self.mlp = nn.Sequential(nn.Linear(size, 4 * size), nn.SiLU(), nn.Linear(4 * size, size))

    def forward(self, t: Tensor) -> Tensor:
        """t (B,) in [0, 1] -> (B, D)."""
        return self.mlp(sinusoidal(t, self.size))
