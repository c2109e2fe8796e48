"""Flow matching with a coarse start: regression draws the mel, diffusion adds what the mean leaves out."""

import torch
from torch import Tensor, nn

from sitok_espnet.nn.llama import LlamaStack
from sitok_espnet.sitok.decoder.abs_flow_matching import AbsFlowMatchingDecoder, Conditioning, FlowOptions


class CoarseStartDecoder(AbsFlowMatchingDecoder):
    """``h = body(z_q)`` once an utterance, ``m = Linear(h)`` the coarse mel; the flow goes from m, noised, to the mel.

    The path begins at ``start = tau m + (1 - tau) eps`` with tau = ``start_time``, the point at which the paper's own
    path would be at time tau if m were the mel, and goes in a straight line to x:
    ``x_t = t x + (1 - t) start``, velocity ``x - start``. ``start_time: 0`` is the paper's path. The layers that run at
    every step read ``Linear(x_t) + h`` (as in the light-weight head, PAPER section 2). m is trained jointly by
    ``|| m - x ||_1``; no gradient of the flow reaches it through the start.

    Source: shallow flow matching (arXiv 2505.12226), with a given time instead of a predicted one, and a network that
    is told t from 0 to 1 along the rest of the path (ours).

    Under token drop and guidance a learned vector replaces h; the start stays, because m is what x_t begins with then
    too. ``num_body_layers`` and ``num_head_layers`` are non-causal Llama layers with ordinary and adaptive norms. The
    other arguments: :class:`AbsFlowMatchingDecoder`.
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
        start_time: float = 0.5,
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
        if isinstance(start_time, bool) or not isinstance(start_time, int | float) or not 0 <= start_time < 1:
            raise ValueError(f"decoder_conf start_time must be a number in [0, 1), got {start_time!r}")
        self.start_time = start_time
        self.body = LlamaStack(num_body_layers, hidden_size, intermediate_size, num_heads, causal=False)
        self.coarse_output = nn.Linear(hidden_size, mel_size)

    def context(self, condition: Tensor, lengths: Tensor) -> Tensor:
        """The body's output."""
        return self.body(condition, lengths)

    def conditioning(self, quantized: Tensor, lengths: Tensor, dropped: Tensor) -> Conditioning:
        """The body's output, or the null vector where the tokens are dropped, and the coarse mel of all utterances."""
        context = self.context(self.condition_input(quantized), lengths)
        coarse = self.coarse_output(context).float()
        null = self.null_condition.to(context.dtype)
        return Conditioning(torch.where(dropped[:, None, None], null, context), coarse)

    def start(self, given: Conditioning, noise: Tensor) -> Tensor:
        """``tau m + (1 - tau) eps``, without gradient."""
        return self.start_time * given.coarse.detach() + (1 - self.start_time) * noise
