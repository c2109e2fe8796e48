"""The paper's diffusion decoder: flow matching on the stacked mel, conditioned on z_q (PAPER sections 1 and 2)."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sitok_espnet.nn.llama import LlamaStack
from sitok_espnet.nn.step_embedding import StepEmbedding
from sitok_espnet.sitok.decoder.abs_decoder import AbsDecoder, DecoderBatch, DecoderLoss, SamplingConfig
from sitok_espnet.sitok.randomness import AbsDraws

MIN_REMAINING_TIME = 0.05
NARROW = 1.5


class FlowMatchingDecoder(AbsDecoder):
    """Non-causal Llama layers with adaptive norms; path ``x_t = t x + (1 - t) eps``, velocity ``x - eps``.

    Input ``Linear(x_t) + Linear(z_q)``. With probability ``token_drop`` all tokens of an utterance are replaced by a
    learned vector, for classifier-free guidance (token CFG).

    Args:
        mel_size: kM (given by the model, not a configuration key).
        condition_size: D of z_q (likewise).
        num_layers, hidden_size, intermediate_size, num_heads: of the Llama layers; 16, 1536, 4096, 16 in the paper.
        prediction: "velocity" (the paper) or "x": the network predicts the clean mel, and the velocity loss is
            computed from it, ``|x_hat - x| / max(1 - t, 0.05)`` (arXiv 2511.13720; ours for widths below 1.5 kM, which
            cannot carry the noise that a velocity contains).
        token_drop: 0.1 in the paper.
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
    ):
        super().__init__()
        if prediction not in ("velocity", "x"):
            raise ValueError(f"decoder_conf prediction must be 'velocity' or 'x', got {prediction!r}")
        if prediction == "velocity" and hidden_size < NARROW * mel_size:
            logging.warning(
                f"decoder_conf: hidden_size {hidden_size} is narrow for velocity prediction of {mel_size} stacked mel "
                f"values (under {NARROW} times); prediction=x works better there"
            )
        self.prediction = prediction
        self.token_drop = token_drop
        self.mel_input = nn.Linear(mel_size, hidden_size)
        self.condition_input = nn.Linear(condition_size, hidden_size)
        self.null_condition = nn.Parameter(torch.zeros(hidden_size))
        self.step_embedding = StepEmbedding(hidden_size)
        self.stack = LlamaStack(num_layers, hidden_size, intermediate_size, num_heads, causal=False, adaptive=True)
        self.output = nn.Linear(hidden_size, mel_size)

    def predict(self, x_t: Tensor, t: Tensor, condition: Tensor, lengths: Tensor) -> Tensor:
        """Network output (velocity or x): x_t (B, T, kM), t (B,), condition (B, T, H) -> (B, T, kM)."""
        hidden = self.stack(self.mel_input(x_t) + condition, lengths, self.step_embedding(t))
        return self.output(hidden)

    def loss(self, batch: DecoderBatch, draws: AbsDraws) -> DecoderLoss:
        """L1 of the velocity, ``|| D(x_t, t, z_q) - (x - eps) ||_1``, the mean over valid elements."""
        condition = self.condition_input(batch.quantized)
        dropped = draws.dropped(self.token_drop)[:, None, None]
        condition = torch.where(dropped, self.null_condition.to(condition.dtype), condition)
        valid = batch.valid.expand_as(batch.target)
        x = batch.target
        total = x.new_zeros(())
        for stratum in range(draws.num_strata):
            t = draws.times(stratum)
            noise = draws.noise(x.size(1), x.size(2))
            at = t[:, None, None]
            predicted = self.predict(at * x + (1 - at) * noise, t, condition, batch.lengths).float()
            if self.prediction == "velocity":
                error = (predicted - (x - noise)).abs()
            else:
                error = (predicted - x).abs() / (1 - at).clamp(min=MIN_REMAINING_TIME)
            total = total + (error * valid).sum() / valid.sum()
        return DecoderLoss(total / draws.num_strata)

    @torch.no_grad()
    def sample(self, quantized: Tensor, lengths: Tensor, noise: Tensor, sampling: SamplingConfig) -> Tensor:
        """Integrate from noise at t = 0 to the mel at t = 1 in equal Euler steps, with token CFG."""
        condition = self.condition_input(quantized)
        null = self.null_condition.to(condition.dtype).expand_as(condition)

        def guided(x_t: Tensor, t: Tensor) -> Tensor:
            conditional = self.predict(x_t, t, condition, lengths).float()
            if sampling.cfg_scale == 0:
                return conditional
            unconditional = self.predict(x_t, t, null, lengths).float()
            # Both parametrisations are linear in the prediction: guiding x is guiding the velocity.
            return conditional + sampling.cfg_scale * (conditional - unconditional)

        return (euler_velocity if self.prediction == "velocity" else euler_x)(guided, noise, sampling.steps)


Field = Callable[[Tensor, Tensor], Tensor]


def euler_velocity(field: Field, x: Tensor, steps: int) -> Tensor:
    """``x <- x + v(x, t) / steps`` from t = 0 to 1; ``field(x, t)`` takes t (B,)."""
    for step in range(steps):
        x = x + field(x, x.new_full((x.size(0),), step / steps)) / steps
    return x


def euler_x(field: Field, x: Tensor, steps: int) -> Tensor:
    """Euler with ``v = (x_hat - x) / (1 - t)``: each step goes ``1 / (steps - step)`` of the way; the last is x_hat."""
    for step in range(steps):
        estimate = field(x, x.new_full((x.size(0),), step / steps))
        x = torch.lerp(x, estimate, 1.0 / (steps - step))
    return x
