"""The paper's CTC decoder: causal Llama layers on the quantized latents (PAPER section 1)."""

from collections.abc import Sequence

from torch import Tensor, nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.llama import LlamaStack
from sitok_espnet.sitok.ctc.abs_ctc import AbsCTC


class LlamaCTC(AbsCTC):
    """Causal Llama layers of the encoder's width and an output layer.

    With one codebook it reads z_q. With several the paper leaves open what it reads: here
    ``Linear(sum of the selected codebooks)`` (DESIGN section 8).

    Args:
        input_size: D (given by the model, not a configuration key).
        num_codebooks, codebook_dim: N and d (likewise).
        vocab_size: V, text pieces with the blank. Left out, the model takes the length of the token list.
        num_layers: 4 in the paper.
        intermediate_size: SwiGLU width.
        num_heads: attention heads.
        codebooks: "all", "first", or a list of codebook numbers counted from 0.
    """

    def __init__(
        self,
        input_size: int,
        num_codebooks: int,
        codebook_dim: int,
        vocab_size: int,
        num_layers: int = 4,
        intermediate_size: int = 4096,
        num_heads: int = 16,
        codebooks: str | Sequence[int] = "all",
    ):
        super().__init__()
        self.selected = _selection(codebooks, num_codebooks)
        self.input = nn.Linear(codebook_dim, input_size) if num_codebooks > 1 else None
        self.stack = LlamaStack(num_layers, input_size, intermediate_size, num_heads, causal=True)
        self.output = nn.Linear(input_size, vocab_size)

    def forward(self, quantized: Tensor, per_codebook: Tensor) -> Tensor:
        """(B, T, D), (B, T, N, d) -> (B, T, V)."""
        if self.input is None:
            return self.output(self.stack(quantized))
        if per_codebook.size(2) == 1:  # no codebooks yet: the latents, whatever is selected
            return self.output(self.stack(self.input(per_codebook[:, :, 0])))
        total = per_codebook[:, :, self.selected].sum(dim=2)
        # Every part has a straight-through gradient of its own; the sum must carry it once, not once a codebook.
        total = total.detach() + (total - total.detach()) / len(self.selected)
        return self.output(self.stack(self.input(total)))


def _selection(codebooks: str | Sequence[int], num_codebooks: int) -> list[int]:
    """Numbers of the codebooks to read; with one codebook, or none (continuous), there is nothing to select."""
    there = list(range(max(num_codebooks, 1)))
    if codebooks == "all":
        return there
    chosen = [0] if codebooks == "first" else codebooks
    whole = isinstance(chosen, Sequence) and all(type(number) is int for number in chosen)
    if not whole or not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(there):
        raise SiTokError(
            f"ctc_conf codebooks must be all, first, or a list of different numbers from 0 to {there[-1]}, got "
            f"{codebooks!r}"
        )
    return list(chosen)
