"""x-vectors (Snyder et al. 2018): a time-delay network with statistics pooling."""

from torch import Tensor, nn

from sitok_espnet.probes.body.abs_body import AbsBody
from sitok_espnet.probes.masked import TimeDelay, masked_statistics, time_mask

KERNELS, DILATIONS = (5, 3, 3, 1, 1), (1, 2, 3, 1, 1)  # Snyder's, and DASB's


class XVector(AbsBody):
    """(B, T, D) -> (B, embedding_size).

    Args:
        input_size: D (given by the model).
        channels: of the first four layers; DASB has 1,024.
        pooled_channels: of the fifth, whose mean and deviation are pooled; DASB has 3,072.
        embedding_size: 512 in DASB.
        dropout: of the pooled statistics.
    """

    pools = True

    def __init__(
        self,
        input_size: int,
        channels: int = 1024,
        pooled_channels: int = 3072,
        embedding_size: int = 512,
        dropout: float = 0.0,
    ):
        super().__init__()
        sizes = [input_size, *[channels] * 4, pooled_channels]
        self.layers = nn.ModuleList(
            TimeDelay(*pair, kernel, dilation)
            for pair, kernel, dilation in zip(zip(sizes, sizes[1:], strict=False), KERNELS, DILATIONS, strict=True)
        )
        self.output = nn.Sequential(
            nn.LayerNorm(2 * pooled_channels), nn.Dropout(dropout), nn.Linear(2 * pooled_channels, embedding_size)
        )
        self.size = embedding_size

    def output_size(self) -> int:
        return self.size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        mask = time_mask(lengths, x)
        for layer in self.layers:
            x = layer(x, mask)
        return self.output(masked_statistics(x, mask))
