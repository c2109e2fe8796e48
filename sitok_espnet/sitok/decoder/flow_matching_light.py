"""Light-weight diffusion head: most layers run once, a few at every step (PAPER section 2)."""

from torch import Tensor

from sitok_espnet.nn.llama import LlamaStack
from sitok_espnet.sitok.decoder.abs_flow_matching import AbsFlowMatchingDecoder, FlowOptions


class LightFlowMatchingDecoder(AbsFlowMatchingDecoder):
    """``h = D_main(z_q)`` once an utterance, ``v = D_head(x_t, t, h)`` at every step.

    The body is ``num_body_layers`` (12) non-causal Llama layers with ordinary norms on Linear(z_q), or on the null
    vector under token drop and CFG; the head ``num_head_layers`` (4) layers with adaptive norms on
    ``Linear(x_t) + h``. For the other arguments see :class:`AbsFlowMatchingDecoder`.
    """

    def __init__(
        self,
        mel_size: int,
        condition_size: int,
        num_body_layers: int = 12,
        num_head_layers: int = 4,
        hidden_size: int = 1536,
        intermediate_size: int = 4096,
        num_heads: int = 16,
        prediction: str = "velocity",
        token_drop: float = 0.1,
        shortcut: bool = False,
        prompt: bool = False,
        time_sampling: str = "uniform",
        time_mean: float = 0.0,
        time_std: float = 1.0,
        loss_on: str = "velocity",
    ):
        options = FlowOptions(prediction, token_drop, shortcut, prompt, time_sampling, time_mean, time_std, loss_on)
        super().__init__(mel_size, condition_size, num_head_layers, hidden_size, intermediate_size, num_heads, options)
        self.body = LlamaStack(num_body_layers, hidden_size, intermediate_size, num_heads, causal=False)

    def context(self, condition: Tensor, lengths: Tensor) -> Tensor:
        """The body's output."""
        return self.body(condition, lengths)
