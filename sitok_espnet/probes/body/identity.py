"""No body: the head reads what the adapter gives."""

from torch import Tensor

from sitok_espnet.probes.body.abs_body import AbsBody


class Identity(AbsBody):
    """(B, T, D) unchanged, for heads that are a network themselves (the language model)."""

    pools = False

    def __init__(self, input_size: int):
        super().__init__()
        self.size = input_size

    def output_size(self) -> int:
        return self.size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return x
