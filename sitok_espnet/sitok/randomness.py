"""Where training and validation draw their times, noise and token drops from (DESIGN section 8)."""

import hashlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from sitok_espnet.nn.distributed import rank

VALIDATION_STRATA = 4


class AbsDraws(ABC):
    """Random quantities of one batch of B utterances. A loss is averaged over ``num_strata`` draws."""

    num_strata: int

    @abstractmethod
    def times(self, stratum: int) -> Tensor:
        """(B,) in [0, 1)."""

    @abstractmethod
    def noise(self, positions: int, width: int) -> Tensor:
        """(B, positions, width), standard normal."""

    @abstractmethod
    def dropped(self, probability: float) -> Tensor:
        """(B,) bool: utterances whose tokens the decoder does not see."""

    @abstractmethod
    def uniform(self, purpose: str, stratum: int = 0) -> Tensor:
        """(B,) in [0, 1), for anything else that a decoder draws; every purpose and stratum on its own."""

    @abstractmethod
    def share(self, probability: float) -> Tensor:
        """(B,) weight of the second of two objectives in each utterance's loss, ``probability`` in the mean."""


class TrainingDraws(AbsDraws):
    """Fresh draws at every step, different on every rank.

    ESPnet seeds the global generator with (seed, epoch), alike on all ranks. One number of that stream, together with
    the rank, seeds this step's generator: resuming at an epoch boundary repeats the same draws (promise 5).
    """

    num_strata = 1

    def __init__(self, batch_size: int, device: torch.device):
        step_seed = int(torch.randint(2**31, ()).item())
        # Hashed to 32 bits: torch's CPU generator drops the bits above them.
        digest = hashlib.sha256(f"{step_seed} {rank()}".encode()).digest()
        self._generator = torch.Generator(device).manual_seed(int.from_bytes(digest[:4], "big"))
        self._batch_size = batch_size
        self._device = device

    def times(self, stratum: int) -> Tensor:
        """``t ~ U(0, 1)``, one per utterance."""
        return self.uniform("time", stratum)

    def noise(self, positions: int, width: int) -> Tensor:
        """Standard normal."""
        shape = (self._batch_size, positions, width)
        return torch.randn(shape, generator=self._generator, device=self._device)

    def dropped(self, probability: float) -> Tensor:
        """Bernoulli, one per utterance."""
        return self.uniform("drop") < probability

    def uniform(self, purpose: str, stratum: int = 0) -> Tensor:
        """The next numbers of this step's stream."""
        return torch.rand(self._batch_size, generator=self._generator, device=self._device)

    def chosen(self, shape: Sequence[int], probability: float) -> Tensor:
        """Bernoulli of any shape, bool."""
        return torch.rand(tuple(shape), generator=self._generator, device=self._device) < probability

    def share(self, probability: float) -> Tensor:
        """0 or 1: an utterance trains one objective."""
        return (self.uniform("objective") < probability).float()


class ValidationDraws(AbsDraws):
    """The same draws in every epoch and any batch: from the utterance id; times stratified, no drops."""

    num_strata = VALIDATION_STRATA

    def __init__(self, utterance_ids: Sequence[str], device: torch.device):
        self._utterances = list(utterance_ids)
        self._seeds = [zlib.crc32(u.encode()) for u in utterance_ids]
        self._device = device

    def times(self, stratum: int) -> Tensor:
        """One time per utterance in ``[stratum, stratum + 1) / num_strata``."""
        offsets = torch.tensor([seed / 2**32 for seed in self._seeds], dtype=torch.float64)
        return ((stratum + offsets) / self.num_strata).float().clamp(max=1 - 1e-6).to(self._device)

    def noise(self, positions: int, width: int) -> Tensor:
        """Row i is :func:`utterance_noise` of utterance i, so that padding does not change it."""
        return torch.stack([utterance_noise(seed, positions, width) for seed in self._seeds]).to(self._device)

    def dropped(self, probability: float) -> Tensor:
        """None."""
        return torch.zeros(len(self._seeds), dtype=torch.bool, device=self._device)

    def uniform(self, purpose: str, stratum: int = 0) -> Tensor:
        """From a hash of utterance, purpose and stratum."""
        digests = [hashlib.sha256(f"{purpose} {stratum} {u}".encode()).digest() for u in self._utterances]
        return torch.tensor([int.from_bytes(d[:3], "big") / 2**24 for d in digests], device=self._device)

    def share(self, probability: float) -> Tensor:
        """Both objectives of every utterance, in the mean's proportion."""
        return torch.full((len(self._seeds),), probability, device=self._device)


def utterance_noise(seed: int, positions: int, width: int) -> Tensor:
    """(positions, width) standard normal fp32 on the CPU, drawn position by position from ``seed``.

    NumPy's generator fills in sequence: a longer draw begins with the shorter one, on every machine (promise 3).
    """
    return torch.from_numpy(next(noise_blocks(seed, width, positions)))


def noise_blocks(seed: int, width: int, positions: int = 1024) -> Iterator[np.ndarray]:
    """The draw of :func:`utterance_noise` without end, in blocks (positions, width) fp32."""
    generator = np.random.Generator(np.random.PCG64(seed))
    while True:
        yield generator.standard_normal((positions, width), dtype=np.float32)
