"""The paper's encoder: causal Llama layers on the stacked mel (PAPER section 1)."""

from torch import Tensor, nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.kv_cache import KVCache
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
        attention_window: null (the paper) or W tokens: position t sees t - W + 1 .. t in every layer, in training as in
            use, so that a stream needs bounded memory (ours). The last
            layer then reaches back num_layers (W - 1) tokens.
    """

    def __init__(
        self,
        input_size: int,
        num_layers: int = 16,
        hidden_size: int = 1536,
        intermediate_size: int = 4096,
        num_heads: int = 16,
        attention_window: int | None = None,
    ):
        super().__init__()
        whole = isinstance(attention_window, int) and not isinstance(attention_window, bool)
        if attention_window is not None and not (whole and attention_window >= 1):
            raise SiTokError(
                f"encoder_conf attention_window must be null or a number of tokens >= 1, got {attention_window!r}"
            )
        self.input = nn.Linear(input_size, hidden_size)
        self.stack = LlamaStack(
            num_layers, hidden_size, intermediate_size, num_heads, causal=True, attention_window=attention_window
        )

    def output_size(self) -> int:
        """Width D of the latents."""
        return self.input.out_features

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, kM) -> (B, T, D)."""
        return self.stack(self.input(x))

    @property
    def attention_window(self) -> int | None:
        """W, None without one."""
        return self.stack.attention_window

    def initial_state(self) -> KVCache:
        """An empty cache."""
        return self.stack.initial_cache()

    def step(self, x: Tensor, state: KVCache) -> tuple[Tensor, KVCache]:
        """(B, t, kM) -> (B, t, D) and the cache after it."""
        return self.stack.step(self.input(x), state)
