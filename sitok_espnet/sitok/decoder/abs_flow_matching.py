"""What the diffusion decoders share: flow matching on the stacked mel, conditioned on z_q (PAPER section 2)."""

import logging
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.llama import LlamaStack
from sitok_espnet.nn.masks import valid_mask
from sitok_espnet.nn.step_embedding import StepEmbedding
from sitok_espnet.sitok.decoder.abs_decoder import AbsDecoder, DecoderBatch, DecoderLoss, SamplingConfig
from sitok_espnet.sitok.decoder.prompt import MelPrompt, random_prefix
from sitok_espnet.sitok.decoder.shortcut import (
    CONSISTENCY_SHARE,
    ConsistencyStep,
    draw_step,
    sampling_step_size,
    two_half_steps,
)
from sitok_espnet.sitok.decoder.solver import euler_velocity, euler_x
from sitok_espnet.sitok.decoder.times import TimeDensity, time_density
from sitok_espnet.sitok.randomness import AbsDraws

MIN_REMAINING_TIME = 0.05
NARROW = 1.5


@dataclass(frozen=True)
class FlowOptions:
    """What the flow-matching decoders have in common beside their sizes; see :class:`AbsFlowMatchingDecoder`.

    Raises:
        ValueError: a value that there is not.
    """

    prediction: str = "velocity"
    token_drop: float = 0.1
    shortcut: bool = False
    prompt: bool = False
    time_sampling: str = "uniform"
    time_mean: float = 0.0
    time_std: float = 1.0
    loss_on: str = "velocity"

    def __post_init__(self):
        if self.prediction not in ("velocity", "x"):
            raise ValueError(f"decoder_conf prediction must be 'velocity' or 'x', got {self.prediction!r}")
        if self.loss_on not in ("velocity", "x"):
            raise ValueError(f"decoder_conf loss_on must be 'velocity' or 'x', got {self.loss_on!r}")
        if self.loss_on == "x" and (self.prediction != "x" or self.shortcut):
            raise ValueError("decoder_conf loss_on: x needs prediction: x and no shortcut, which compares velocities")

    @property
    def density(self) -> TimeDensity:
        """Of the diffusion time in training."""
        return time_density(self.time_sampling, self.time_mean, self.time_std)


@dataclass(frozen=True)
class Conditioning:
    """What a decoder makes of z_q before any diffusion step.

    context: (B, T, H), added to the projected x_t. coarse: (B, T, kM), a mel predicted without noise, or None.
    """

    context: Tensor
    coarse: Tensor | None = None


@dataclass(frozen=True)
class _Utterances:
    """Some utterances of a batch (b of them) with their draws.

    x, start: (b, T, kM), the two ends of the path. context: (b, T, H). lengths: (b,). scored: (b, T, kM), 1 where the
    loss counts. clean: (b, T, 1), true in the prefix that stays clean.
    """

    x: Tensor
    start: Tensor
    context: Tensor
    lengths: Tensor
    scored: Tensor
    clean: Tensor

    def select(self, rows: Tensor) -> "_Utterances":
        """Those where ``rows`` (b,) is true."""
        return _Utterances(**{name: value[rows] for name, value in vars(self).items()})

    def at(self, t: Tensor) -> Tensor:
        """``x_t = t x + (1 - t) start`` (b, T, kM), the clean prefix left alone."""
        t = t[:, None, None]
        return self.impose(t * self.x + (1 - t) * self.start)

    def impose(self, x_t: Tensor) -> Tensor:
        """Put the clean prefix back."""
        return torch.where(self.clean, self.x, x_t)

    def mean(self, error: Tensor) -> Tensor:
        """(b, T, kM) -> (b,), each utterance's mean over its scored elements."""
        return (error * self.scored).sum((1, 2)) / self.scored.sum((1, 2))


class AbsFlowMatchingDecoder(AbsDecoder):
    """Path ``x_t = t x + (1 - t) eps``, velocity ``x - eps``; non-causal Llama layers with adaptive norms see x_t.

    With probability ``token_drop`` the projected z_q of a whole utterance is replaced by a learned vector, for
    classifier-free guidance (token CFG). A subclass says what the layers read beside x_t (:meth:`context`).

    Args:
        mel_size: kM.
        condition_size: D of z_q.
        num_layers: layers that run at every solver step.
        hidden_size, intermediate_size, num_heads: of all Llama layers.
        options: the following, which a subclass takes as arguments of its own.
        prediction: "velocity" (the paper) or "x": the network predicts the clean mel, and the velocity loss is
            computed from it, ``|x_hat - x| / max(1 - t, 0.05)`` (arXiv 2511.13720; ours for widths below 1.5 kM, which
            cannot carry the noise that a velocity contains).
        token_drop: 0.1 in the paper.
        shortcut: also tell the network the step size, and train it with the shortcut objective. The embedding of the
            step size starts at zero: a refinement starts exactly at the decoder that it refines.
        prompt: leave a random prefix of up to 30 % of the tokens (of three utterances in ten: none) clean in training
            and out of the loss, so that decoding can be given a mel prompt. Adds no parameters.
        time_sampling: "uniform" (the paper) or "logit_normal" with time_mean and time_std (arXiv 2403.03206).
        loss_on: "velocity" (the paper), or "x" with ``prediction: x``: ``|x_hat - x|``, without the weight 1 / (1 - t).
    """

    iterative = True

    def __init__(
        self,
        mel_size: int,
        condition_size: int,
        num_layers: int,
        hidden_size: int,
        intermediate_size: int,
        num_heads: int,
        options: FlowOptions,
    ):
        super().__init__()
        if options.prediction == "velocity" and hidden_size < NARROW * mel_size:
            logging.warning(
                f"decoder_conf: hidden_size {hidden_size} is narrow for velocity prediction of {mel_size} stacked mel "
                f"values (under {NARROW} times); prediction=x works better there"
            )
        self.prediction = options.prediction
        self.token_drop = options.token_drop
        self.shortcut = options.shortcut
        self.prompt = options.prompt
        self.loss_on = options.loss_on
        self.times = options.density
        self.mel_input = nn.Linear(mel_size, hidden_size)
        self.condition_input = nn.Linear(condition_size, hidden_size)
        self.null_condition = nn.Parameter(torch.zeros(hidden_size))
        self.step_embedding = StepEmbedding(hidden_size)
        self.stack = LlamaStack(num_layers, hidden_size, intermediate_size, num_heads, causal=False, adaptive=True)
        self.output = nn.Linear(hidden_size, mel_size)
        if options.shortcut:
            self.step_size_embedding = StepEmbedding(hidden_size)
            nn.init.zeros_(self.step_size_embedding.mlp[-1].weight)
            nn.init.zeros_(self.step_size_embedding.mlp[-1].bias)

    @property
    def takes_prompt(self) -> bool:
        """``prompt: true``."""
        return self.prompt

    @property
    def parts_added_in_refinement(self) -> tuple[str, ...]:
        """The step-size embedding: zero at the start."""
        return ("step_size_embedding",) if self.shortcut else ()

    @abstractmethod
    def context(self, condition: Tensor, lengths: Tensor) -> Tensor:
        """What is added to the projected x_t, computed once an utterance: (B, T, H), lengths (B,) -> (B, T, H).

        ``condition`` is the projected z_q, or the null vector at every position.
        """

    def conditioning(self, quantized: Tensor, lengths: Tensor, dropped: Tensor) -> Conditioning:
        """z_q (B, T, D), lengths (B,), dropped (B,) bool, true where tokens are not seen -> :class:`Conditioning`."""
        condition = self.condition_input(quantized)
        null = self.null_condition.to(condition.dtype)
        return Conditioning(self.context(torch.where(dropped[:, None, None], null, condition), lengths))

    def start(self, given: Conditioning, noise: Tensor) -> Tensor:
        """Where the path begins at t = 0 (B, T, kM): at the noise (PAPER section 2)."""
        return noise

    def predict(
        self, x_t: Tensor, t: Tensor, context: Tensor, lengths: Tensor, step_size: Tensor | None = None
    ) -> Tensor:
        """Network output (velocity or x): x_t (B, T, kM), t (B,), context (B, T, H) -> (B, T, kM).

        ``step_size`` (B,) is d of a shortcut decoder; None is 0.
        """
        embedding = self.step_embedding(t)
        if self.shortcut:
            embedding = embedding + self.step_size_embedding(torch.zeros_like(t) if step_size is None else step_size)
        return self.output(self.stack(self.mel_input(x_t) + context, lengths, embedding))

    # ---------------------------------------------------------------- training

    def loss(self, batch: DecoderBatch, draws: AbsDraws) -> DecoderLoss:
        """``|| D(x_t, t, z_q) - (x - eps) ||_1``, the mean over valid elements; with ``shortcut`` L_S of the paper.

        All sums are in float32, under autocast too.

        L_S is squared in both terms. Three quarters of the utterances train flow matching at d = 0, one quarter
        consistency, and all count alike (as in arXiv 2410.12557). A clean prefix is not scored; its utterance
        keeps the weight of all its valid frames.
        """
        dropped = draws.dropped(self.token_drop)
        given = self.conditioning(batch.quantized, batch.lengths, dropped)
        valid = batch.valid.expand_as(batch.target)
        weight = valid.sum((1, 2)) / valid.sum()
        clean = torch.zeros_like(dropped)[:, None, None]
        if self.prompt:
            prefix = random_prefix(draws.uniform("prompt"), batch.lengths)
            clean = valid_mask(prefix, batch.target.size(1))[:, :, None]
        flow, consistency = weight.new_zeros(()), weight.new_zeros(())
        for stratum in range(draws.num_strata):
            t = self.times.quantile(draws.times(stratum))
            start = self.start(given, draws.noise(batch.target.size(1), batch.target.size(2)))
            some = _Utterances(batch.target, start, given.context, batch.lengths, valid * ~clean, clean)
            if not self.shortcut:
                # Not a product of matrices, which autocast would compute in bfloat16.
                flow = flow + (weight * some.mean(self._flow_residual(some, t).abs())).sum()
                continue
            # In training every utterance has one of the two objectives; in validation both, in the same proportion.
            share = draws.share(CONSISTENCY_SHARE)
            if (rows := share < 1).any():
                part = some.select(rows)
                error = part.mean(self._flow_residual(part, t[rows]).square())
                flow = flow + ((weight * (1 - share))[rows] * error).sum()
            if (rows := share > 0).any():
                part = some.select(rows)
                step = draw_step(draws.uniform("step size", stratum)[rows], draws.uniform("step time", stratum)[rows])
                error = part.mean(self._consistency_residual(part, step).square())
                consistency = consistency + ((weight * share)[rows] * error).sum()
        flow, consistency = flow / draws.num_strata, consistency / draws.num_strata
        loss, stats = flow + consistency, {}
        if given.coarse is not None:
            coarse = ((given.coarse - batch.target).abs() * valid).sum() / valid.sum()
            loss = loss + coarse
            stats["loss_coarse"] = coarse.detach()
        if self.shortcut:  # the mean of each term, whatever its share of the loss
            stats["loss_flow_matching"] = flow.detach() / (1 - CONSISTENCY_SHARE)
            stats["loss_consistency"] = consistency.detach() / CONSISTENCY_SHARE
        return DecoderLoss(loss, stats)

    def _flow_residual(self, some: _Utterances, t: Tensor) -> Tensor:
        """Error of the velocity at step size 0: (b, T, kM)."""
        predicted = self.predict(some.at(t), t, some.context, some.lengths).float()
        if self.prediction == "velocity":
            return predicted - (some.x - some.start)
        if self.loss_on == "x":
            return predicted - some.x
        return (predicted - some.x) / (1 - t[:, None, None]).clamp(min=MIN_REMAINING_TIME)

    def _consistency_residual(self, some: _Utterances, step: ConsistencyStep) -> Tensor:
        """``s(x_t, t, 2d) - s_target``: (b, T, kM); only the first has a gradient.

        Its remaining time is at least 2d = 1/16, so that the clamp of the flow-matching term would never act.
        """

        def velocity(x_t: Tensor, t: Tensor, step_size: Tensor) -> Tensor:
            predicted = self.predict(x_t, t, some.context, some.lengths, step_size).float()
            return predicted if self.prediction == "velocity" else (predicted - x_t) / (1 - t[:, None, None])

        x_t = some.at(step.time)
        return velocity(x_t, step.time, step.size) - two_half_steps(velocity, x_t, step, some.impose)

    # ---------------------------------------------------------------- sampling

    @torch.no_grad()
    def sample(
        self,
        quantized: Tensor,
        lengths: Tensor,
        noise: Tensor,
        sampling: SamplingConfig,
        prompt: MelPrompt | None = None,
    ) -> Tensor:
        """Integrate from ``tau noise`` at t = 0 to the mel at t = 1 in equal Euler steps, with token CFG.

        The clean prompt, unscaled, is put back before every evaluation. A shortcut decoder is told the steps' size.
        """
        if prompt is not None and not self.prompt:
            raise SiTokError("this decoder was trained without mel prompts (decoder_conf prompt: false)")
        nobody = torch.zeros_like(lengths, dtype=torch.bool)
        given = self.conditioning(quantized, lengths, nobody)
        scale = sampling.noise_scale
        # Not even multiplied by 1: a batch shares one expanded draw, and a copy of it gives other last bits.
        start = self.start(given, noise if scale == 1 else scale * noise)
        if sampling.cfg_scale != 0:
            null = self.conditioning(quantized, lengths, ~nobody).context
        size = None
        if self.shortcut:
            size = noise.new_full((noise.size(0),), sampling_step_size(sampling.num_steps))

        def guided(x_t: Tensor, t: Tensor) -> Tensor:
            if prompt is not None:
                x_t = torch.where(prompt.positions(), prompt.mel, x_t)
            conditional = self.predict(x_t, t, given.context, lengths, size).float()
            if sampling.cfg_scale == 0:
                return conditional
            unconditional = self.predict(x_t, t, null, lengths, size).float()
            # Both parametrisations are linear in the prediction: guiding x is guiding the velocity.
            return conditional + sampling.cfg_scale * (conditional - unconditional)

        solve = euler_velocity if self.prediction == "velocity" else euler_x
        return solve(guided, start, sampling.num_steps)
