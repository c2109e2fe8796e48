"""Root-mean-square norms, plain and driven by the diffusion step."""

import torch
from torch import Tensor, nn

EPSILON = 1e-6


def _normalise(x: Tensor) -> Tensor:
    """Divide by the root mean square over the last dimension, in fp32."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + EPSILON)


class RMSNorm(nn.Module):
    """``x / rms(x) * g`` over the last dimension (arXiv 1910.07467)."""

    def __init__(self, size: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D), fp32."""
        return _normalise(x) * self.gain


class AdaptiveRMSNorm(nn.Module):
    """RMSNorm whose gain is a linear function of the step embedding (PAPER section 1, diffusion decoder).

    One Linear(D, D), zero-initialised with bias 1: at the start of training it is a plain RMSNorm (TaDiCodec's choice;
    the parameter totals of the paper fit it).
    """

    def __init__(self, size: int):
        super().__init__()
        self.to_gain = nn.Linear(size, size)
        nn.init.zeros_(self.to_gain.weight)
        nn.init.ones_(self.to_gain.bias)

    def forward(self, x: Tensor, step_embedding: Tensor) -> Tensor:
        """x (B, T, D), step_embedding (B, D) -> (B, T, D), fp32."""
        return _normalise(x) * self.to_gain(step_embedding)[:, None]
