"""A small ContextNet (arXiv 2005.03191), DASB's second architecture for speech recognition."""

import torch
from torch import Tensor, nn

from sitok_espnet.probes.body.abs_body import AbsBody
from sitok_espnet.probes.masked import MaskedConv, SqueezeExcite, time_mask


class _Block(nn.Module):
    """Depthwise-separable convolutions, squeeze-and-excitation over the whole utterance, residual."""

    def __init__(self, size: int, kernel_size: int, convolutions: int, dropout: float):
        super().__init__()
        self.depthwise = nn.ModuleList(MaskedConv(size, size, kernel_size, groups=size) for _ in range(convolutions))
        self.pointwise = nn.ModuleList(nn.Linear(size, size) for _ in range(convolutions))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(convolutions))
        self.excite = SqueezeExcite(size, max(size // 8, 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        out = x
        for depthwise, pointwise, norm in zip(self.depthwise, self.pointwise, self.norms, strict=True):
            out = nn.functional.silu(norm(pointwise(depthwise(out, mask))))
        return x + self.dropout(self.excite(out, mask))


class ContextNet(AbsBody):
    """(B, T, D) -> (B, T, channels). Without ContextNet's subsampling: the input is at the token rate already (ours).

    Args:
        input_size: D (given by the model).
        channels: width.
        num_blocks, convolutions: blocks, and convolutions in each.
        kernel_size: frames.
        dropout: of every block.
    """

    pools = False

    def __init__(
        self,
        input_size: int,
        channels: int = 256,
        num_blocks: int = 10,
        convolutions: int = 2,
        kernel_size: int = 5,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.size = channels
        self.input = nn.Linear(input_size, channels)
        self.blocks = nn.ModuleList(_Block(channels, kernel_size, convolutions, dropout) for _ in range(num_blocks))
        self.norm = nn.LayerNorm(channels)

    def output_size(self) -> int:
        return self.size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        mask = time_mask(lengths, x)
        x = torch.relu(self.input(x))
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)
