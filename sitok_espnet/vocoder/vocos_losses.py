"""What trains Vocos: a mel distance at several resolutions and the `vocos` package's discriminators and GAN losses."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vocos.discriminators import DiscriminatorP, DiscriminatorR
from vocos.loss import DiscriminatorLoss, FeatureMatchingLoss, GeneratorLoss

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.abs_feats_extract import AbsFeatsExtract
from sitok_espnet.sitok.mel.log_mel import LogMel

# Vocos clamps at 1e-7 after filters that peak at 1. Ours have unit area and peak at 0.002 to 0.03: the same sound is
# about as far from this floor. At the mel's own floor, 1e-5, quiet noise would be silence, and a generator that is too
# quiet would have no gradient to become louder.
FLOOR = 1e-9


def log_mel_of(feats_extract: AbsFeatsExtract, wav: Tensor) -> Tensor:
    """(B, S) complete rows -> (B, F, M)."""
    return feats_extract(wav, torch.full((len(wav),), wav.shape[1], device=wav.device))[0]


class MultiScaleMelLoss(nn.Module):
    """Mean over scales of the L1 distance of log-mels.

    Vocos has one scale, window 1024 with 100 bins. Short windows see what a long one blurs: the glottal pulses between
    two frames of the mel. That matters as long as no discriminator judges the fine structure.
    """

    def __init__(self, sample_rate: int, scales: Sequence[Sequence[int]]) -> None:
        """scales: pairs (window in samples, a multiple of 8; number of mel bins); the hop is a quarter of the window.

        Raises:
            SiTokError: no scale, or a window that is no multiple of 8.
        """
        super().__init__()
        if not scales:
            raise SiTokError("model_conf: mel_scales must hold at least one pair [window, bins]")
        self.mels = nn.ModuleList()
        for scale in scales:
            if len(scale) != 2 or scale[0] % 8:
                raise SiTokError(f"model_conf: mel_scales needs pairs [window, bins], windows in eights, got {scale}")
            window, bins = scale
            conf = {"n_fft": window, "win_length": window, "hop_length": window // 4, "n_mels": bins, "floor": FLOOR}
            self.mels.append(LogMel(sample_rate, **conf, fmax=sample_rate / 2))
        for mel in self.mels:
            del mel.mel_hash  # the checkpoint has the hash of the vocoder's input, not of its losses

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """(B, S) generated and true waveforms -> scalar, in log units."""
        distances = [F.l1_loss(log_mel_of(mel, fake), log_mel_of(mel, real)) for mel in self.mels]
        return torch.stack(distances).mean()


class VocosDiscriminators(nn.Module):
    """Multi-period and multi-resolution discriminators, averaged within each kind as in Vocos.

    The sum is ``periods + mrd_weight * resolutions``; without periods it is the second part alone.
    """

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        fft_sizes: Sequence[int] = (2048, 1024, 512),
        mrd_channels: int = 32,
        mrd_weight: float = 0.1,
    ) -> None:
        """Args:
        periods: of the multi-period discriminators (HiFi-GAN), about 8 M parameters each; may be empty.
        fft_sizes: of the multi-resolution discriminators (DAC).
        mrd_channels: width of the latter.
        mrd_weight: of the latter in every loss.

        Raises:
            SiTokError: no discriminator at all, or a size below 1.
        """
        super().__init__()
        if not periods and not fft_sizes:
            raise SiTokError("discriminator_conf: periods and fft_sizes are both empty: name at least one")
        if min([*periods, *fft_sizes, mrd_channels]) < 1:
            raise SiTokError("discriminator_conf: periods, fft_sizes and mrd_channels must be at least 1")
        self.periods = nn.ModuleList(DiscriminatorP(period) for period in periods)
        self.resolutions = nn.ModuleList(DiscriminatorR(size, channels=mrd_channels) for size in fft_sizes)
        self.mrd_weight = mrd_weight
        self._discriminator_loss = DiscriminatorLoss()
        self._generator_loss = GeneratorLoss()
        self._feature_loss = FeatureMatchingLoss()

    def _kinds(self) -> list[tuple[nn.ModuleList, float]]:
        return [(self.periods, 1.0), (self.resolutions, self.mrd_weight)]

    def judge(self, fake: Tensor, real: Tensor) -> Tensor:
        """(B, S) waveforms -> the discriminators' hinge loss, scalar; no gradient reaches `fake`."""
        fake, total = fake.detach(), fake.new_zeros(())
        for kind, weight in self._kinds():
            if len(kind):
                true, false = [d(real)[0] for d in kind], [d(fake)[0] for d in kind]
                total = total + weight * self._discriminator_loss(true, false)[0].sum() / len(kind)
        return total

    def teach(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S) waveforms -> the generator's adversarial and feature-matching losses, scalars.

        The discriminators get no gradient (a third of the backward pass saved).
        """
        adversarial, features = fake.new_zeros(()), fake.new_zeros(())
        with _frozen(self):
            for kind, weight in self._kinds():
                if not len(kind):
                    continue
                with torch.no_grad():
                    true = [d(real)[1] for d in kind]
                scores, false = zip(*(d(fake) for d in kind), strict=True)
                share = weight / len(kind)
                adversarial = adversarial + share * self._generator_loss(list(scores))[0].sum()
                features = features + share * self._feature_loss(true, list(false)).sum()
        return adversarial, features


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """No gradient for the module's parameters in what is computed inside."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
