"""The paper's diffusion decoder: all layers at every step (PAPER sections 1 and 2)."""

from torch import Tensor

from sitok_espnet.sitok.decoder.abs_flow_matching import AbsFlowMatchingDecoder, FlowOptions


class FlowMatchingDecoder(AbsFlowMatchingDecoder):
    """Non-causal Llama layers with adaptive norms on ``Linear(x_t) + Linear(z_q)``.

    ``num_layers``, ``hidden_size``, ``intermediate_size`` and ``num_heads`` are 16, 1536, 4096, 16 in the paper; for
    the other arguments see :class:`AbsFlowMatchingDecoder`.
    """

    def __init__(
        self,
        mel_size: int,
        condition_size: int,
        num_layers: int = 16,
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
        super().__init__(mel_size, condition_size, num_layers, hidden_size, intermediate_size, num_heads, options)

    def context(self, condition: Tensor, lengths: Tensor) -> Tensor:
        """The projected z_q itself."""
        return condition
