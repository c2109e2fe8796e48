"""The mean over time, DASB's smallest architecture: the head's linear layer is all there is to learn."""

from torch import Tensor

from sitok_espnet.probes.body.abs_body import AbsBody
from sitok_espnet.probes.masked import masked_mean, time_mask


class TimePooling(AbsBody):
    """(B, T, D) -> (B, D)."""

    pools = True

    def __init__(self, input_size: int):
        super().__init__()
        self.size = input_size

    def output_size(self) -> int:
        return self.size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return masked_mean(x, time_mask(lengths, x))
