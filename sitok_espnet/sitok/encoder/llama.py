"""The paper's encoder: causal Llama layers on the stacked mel (PAPER section 1)."""

from torch import Tensor, nn

from sitok_espnet.nn.llama import LlamaStack
from sitok_espnet.sitok.encoder.abs_encoder import AbsEncoder


class LlamaEncoder(AbsEncoder):
    """Linear(kM, D), causal Llama layers, final RMSNorm.

    Args:
        input_size: kM, the width of the stacked mel (given by the model, not a configuration key).
        num_layers: 16 in the paper's L.
        hidden_size: D, 1536 in the paper.
        intermediate_size: SwiGLU width, 4096.
        num_heads: 16.
    """

    def __init__(
        self,
        input_size: int,
        num_layers: int = 16,
        hidden_size: int = 1536,
        intermediate_size: int = 4096,
        num_heads: int = 16,
    ):
        super().__init__()
        self.input = nn.Linear(input_size, hidden_size)
        self.stack = LlamaStack(num_layers, hidden_size, intermediate_size, num_heads, causal=True)

    def output_size(self) -> int:
        """Width D of the latents."""
        return self.input.out_features

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, kM) -> (B, T, D)."""
        return self.stack(self.input(x))
