"""The paper's CTC decoder: causal Llama layers on the quantized latents (PAPER section 1)."""

from torch import Tensor, nn

from sitok_espnet.nn.llama import LlamaStack
from sitok_espnet.sitok.ctc.abs_ctc import AbsCTC


class LlamaCTC(AbsCTC):
    """Causal Llama layers of the encoder's width and an output layer.

    Args:
        input_size: D (given by the model, not a configuration key).
        vocab_size: V, text pieces with the blank. Left out, the model takes the length of the token list.
        num_layers: 4 in the paper.
        intermediate_size: SwiGLU width.
        num_heads: attention heads.
    """

    def __init__(
        self, input_size: int, vocab_size: int, num_layers: int = 4, intermediate_size: int = 4096, num_heads: int = 16
    ):
        super().__init__()
        self.stack = LlamaStack(num_layers, input_size, intermediate_size, num_heads, causal=True)
        self.output = nn.Linear(input_size, vocab_size)

    def forward(self, quantized: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, V)."""
        return self.output(self.stack(quantized))
