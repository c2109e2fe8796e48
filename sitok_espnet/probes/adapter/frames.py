"""Real-valued frames (mel, encoder output) to vectors of the probe's size."""

from torch import Tensor, nn

from sitok_espnet.probes.adapter.abs_adapter import AbsAdapter
from sitok_espnet.probes.card import InputCard


class FrameAdapter(AbsAdapter):
    """Linear, frame by frame (ours).

    The frames are normalised already: the mel by the tokenizer's global statistics, the encoder's output by its final
    RMSNorm. Another norm here would take loudness away from the mel.

    Args:
        card: the width of a frame (given by the model).
        size: D.
        dropout: of the result.
    """

    def __init__(self, card: InputCard, size: int = 256, dropout: float = 0.0):
        super().__init__()
        self.size = size
        self.layers = nn.Sequential(nn.Linear(card.width, size), nn.Dropout(dropout))

    @classmethod
    def accepts(cls, card: InputCard) -> bool:
        return not card.is_tokens

    def output_size(self) -> int:
        return self.size

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, D)."""
        return self.layers(x)
