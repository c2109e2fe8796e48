"""The contract of a pattern: in which step and stream of a language model each code of each frame stands (ours)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sitok_espnet.speechlm.vocabulary import JointVocabulary


@dataclass(frozen=True)
class Due:
    """A code that a step holds. stream: where in the step. codebook, frame: which code."""

    stream: int
    codebook: int
    frame: int


class AbsPattern(ABC):
    """Shapes: T frames, N codebooks, R steps, S streams (identifiers that a step reads and predicts at once).

    The end of speech stands where codebook 0 of frame T would. Streams that have nothing hold the padding.
    """

    def __init__(self, vocabulary: JointVocabulary) -> None:
        self.vocabulary = vocabulary
        self.num_codebooks = vocabulary.num_codebooks

    @property
    @abstractmethod
    def num_streams(self) -> int:
        """S."""

    @abstractmethod
    def step(self, frame: Tensor, codebook: Tensor) -> Tensor:
        """The step of codes: integer tensors of one shape -> the same shape. It grows with the frame."""

    @abstractmethod
    def stream(self, codebook: Tensor) -> Tensor:
        """The stream of codes of a codebook: integer tensor -> the same shape."""

    @abstractmethod
    def due(self, step: int) -> list[Due]:
        """The codes that a step holds: the inverse of `step` and `stream`, by stream."""

    def first_step(self, frame: int) -> int:
        """The step of a frame's first code."""
        return int(self.step(torch.tensor(frame), torch.tensor(0)))

    def num_steps(self, frames: int) -> int:
        """R: steps of a number of frames and the end."""
        codebooks = torch.arange(self.num_codebooks)
        last = self.step(torch.full_like(codebooks, frames - 1), codebooks).max() if frames else torch.tensor(-1)
        return max(int(last), self.first_step(frames)) + 1

    def steps(self, codes: Tensor) -> Tensor:
        """Codes (T, N) -> identifiers (R, S) with the end among them."""
        frames = len(codes)
        steps = torch.full((self.num_steps(frames), self.num_streams), self.vocabulary.padding)
        step, stream = self._places(frames)
        steps[step, stream] = codes.cpu() + torch.tensor(self.vocabulary.speech_offsets)
        steps[self.first_step(frames), self.stream(torch.tensor(0))] = self.vocabulary.end
        return steps

    def codes(self, steps: Tensor, frames: int) -> Tensor:
        """Identifiers (R, S) -> codes (T, N) of the first ``frames`` frames: the inverse of `steps`."""
        step, stream = self._places(frames)
        return steps[step, stream] - torch.tensor(self.vocabulary.speech_offsets)

    def codebooks(self, num_steps: int) -> Tensor:
        """(R, S): the codebook whose code, or end, each stream of each step may hold, -1 for none."""
        table = torch.full((num_steps, self.num_streams), -1)
        step, stream = self._places(num_steps)  # a frame begins no earlier than the step of its own number
        there = step < num_steps
        table[step[there], stream[there]] = torch.arange(self.num_codebooks).expand_as(step)[there]
        return table

    def _places(self, frames: int) -> tuple[Tensor, Tensor]:
        """Step and stream of every code of T frames, each (T, N)."""
        frame, codebook = torch.meshgrid(torch.arange(frames), torch.arange(self.num_codebooks), indexing="ij")
        return self.step(frame, codebook), self.stream(codebook)
