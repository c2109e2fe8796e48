"""Contract of the decoder slot."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from numbers import Integral, Real

from torch import Tensor, nn

from sitok_espnet.sitok.decoder.prompt import MelPrompt
from sitok_espnet.sitok.randomness import AbsDraws

DEFAULT_STEPS = 16
DEFAULT_TEMPERATURE = 1.0
LARGEST_TEMPERATURE = 2.0


@dataclass(frozen=True)
class SamplingConfig:
    """How a decoder samples (PAPER section 2).

    steps: solver steps; None, not asked for, is 16 for an iterative decoder.
    cfg_scale: w of ``v_c + w (v_c - v_u)``; 0 is off and costs one evaluation a step.
    temperature: tau, the noise that the solver starts from is ``tau eps`` (ours; the decoder is trained at 1, and 0
        starts from the mean of the noise); None, not asked for, is 1.

    Raises:
        ValueError: steps that are no whole number from 1 on, a scale that is negative or no finite number, a
            temperature that is no number from 0 to 2.
    """

    steps: int | None = None
    cfg_scale: float = 0.0
    temperature: float | None = None

    def __post_init__(self):
        steps, scale, temperature = self.steps, self.cfg_scale, self.temperature
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 1):
            raise ValueError(f"steps must be a whole number of at least 1, or None, got {steps!r}")
        if isinstance(scale, bool) or not isinstance(scale, Real) or not 0 <= scale < math.inf:
            raise ValueError(f"cfg_scale must be a finite number that is not negative, got {scale!r}")
        if temperature is not None and (
            isinstance(temperature, bool)
            or not isinstance(temperature, Real)
            or not 0 <= temperature <= LARGEST_TEMPERATURE
        ):
            raise ValueError(f"temperature must be a number from 0 to 2, or None, got {temperature!r}")
        # Numbers of NumPy become Python's: they are written into files.
        object.__setattr__(self, "steps", None if steps is None else int(steps))
        object.__setattr__(self, "cfg_scale", float(scale))
        object.__setattr__(self, "temperature", None if temperature is None else float(temperature))

    @property
    def num_steps(self) -> int:
        """Solver steps of an iterative decoder."""
        return DEFAULT_STEPS if self.steps is None else self.steps

    @property
    def noise_scale(self) -> float:
        """tau of an iterative decoder."""
        return DEFAULT_TEMPERATURE if self.temperature is None else self.temperature


@dataclass(frozen=True)
class DecoderBatch:
    """target: (B, T, kM) normalised stacked log-mel. quantized: (B, T, D). lengths: (B,) tokens.

    valid: (B, T, kM) or broadcastable to it, 1 at elements of valid frames (F, not kT, masks the loss), 0 elsewhere.
    """

    target: Tensor
    quantized: Tensor
    lengths: Tensor
    valid: Tensor


@dataclass(frozen=True)
class DecoderLoss:
    """loss: scalar. stats: scalars for the log, the same keys in every batch."""

    loss: Tensor
    stats: dict[str, Tensor] = field(default_factory=dict)


class AbsDecoder(nn.Module, ABC):
    """Quantized latents -> stacked mel."""

    @property
    @abstractmethod
    def iterative(self) -> bool:
        """Whether it samples in solver steps from noise: only then the fields of SamplingConfig mean something."""

    @property
    def takes_prompt(self) -> bool:
        """Whether it was trained with mel prompts (``prompt: true``)."""
        return False

    @property
    def parts_added_in_refinement(self) -> tuple[str, ...]:
        """Names of sub-modules that start neutral: a checkpoint to refine from (``--init_param``) may lack them."""
        return ()

    @abstractmethod
    def loss(self, batch: DecoderBatch, draws: AbsDraws) -> DecoderLoss:
        """Training objective, the mean over valid mel elements."""

    @abstractmethod
    def sample(
        self,
        quantized: Tensor,
        lengths: Tensor,
        noise: Tensor,
        sampling: SamplingConfig,
        prompt: MelPrompt | None = None,
    ) -> Tensor:
        """quantized (B, T, D), lengths (B,), noise (B, T, kM) -> normalised stacked log-mel (B, T, kM).

        ``noise`` is standard normal: the decoder itself scales it by the temperature.
        ``lengths`` count the prompt's tokens too; what is returned at their positions means nothing.
        """
