"""Vocos training as an ESPnet GAN model (ESPnet's GANTrainer calls it twice a batch)."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_gan_espnet_model import AbsGANESPnetModel
from torch import Tensor

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.abs_feats_extract import AbsFeatsExtract
from sitok_espnet.sitok.slots import build_slot
from sitok_espnet.vocoder.segments import context_frames
from sitok_espnet.vocoder.vocos_generator import VocosGenerator
from sitok_espnet.vocoder.vocos_losses import MultiScaleMelLoss, VocosDiscriminators, log_mel_of

GENERATOR, DISCRIMINATOR = 0, 1  # indices of the optimizers
WARM_UP_PENALTY = 100.0  # in log units: more than any mel distance


class VocosGANModel(AbsGANESPnetModel):
    """Generator loss ``mel_weight * mel distance + adversarial + feature matching`` (Vocos, section 3.3).

    Before `discriminator_start_step` the generator learns from the mel distance alone and the discriminators are
    neither evaluated nor moved: on a CPU they cost more than everything else. Validation reports `mel_l1`, the
    distance of the copy in the vocoder's own mel, and `selection`, the same with a penalty during the warm-up.

    Args:
        feats_extract: the mel that the vocoder inverts; its hash is in every checkpoint.
        generator, discriminators: the networks.
        mel_weight: 45 in Vocos.
        mel_scales: (window, bins) of the mel distance; Vocos has one, [1024, 100].
        discriminator_start_step: generator steps without discriminators.
    """

    def __init__(
        self,
        feats_extract: AbsFeatsExtract,
        generator: VocosGenerator,
        discriminators: VocosDiscriminators,
        mel_weight: float = 45.0,
        mel_scales: Sequence[Sequence[int]] = ((1024, 100),),
        discriminator_start_step: int = 0,
    ) -> None:
        super().__init__()
        self.feats_extract = feats_extract
        self.generator = generator
        self.discriminators = discriminators
        self.mel_loss = MultiScaleMelLoss(feats_extract.config.sample_rate, mel_scales)
        self.mel_weight = mel_weight
        self.discriminator_start_step = discriminator_start_step
        # float64: ESPnet's checkpoint averaging sums integer buffers.
        self.register_buffer("generator_steps", torch.zeros((), dtype=torch.float64))
        self._made: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def adversarial(self) -> bool:
        """Whether the discriminators take part now."""
        return bool(self.generator_steps.item() >= self.discriminator_start_step)

    def forward(
        self, speech: Tensor, speech_lengths: Tensor | None = None, forward_generator: bool = True, **kwargs: Any
    ) -> dict:
        """Losses of one turn.

        Args:
            speech: (B, S + 2 context) what SegmentCutter cut.
            forward_generator: the generator's turn, or the discriminators'.

        Returns:
            loss (scalar), stats, weight (B) and optim_idx, as GANTrainer wants them.
        """
        if forward_generator:
            loss, stats, index = *self._generator_turn(speech), GENERATOR
        else:
            loss, stats, index = *self._discriminator_turn(speech), DISCRIMINATOR
        loss, stats, weight = force_gatherable((loss, stats, len(speech)), loss.device)
        return {"loss": loss, "stats": stats, "weight": weight, "optim_idx": index}

    def _discriminator_turn(self, speech: Tensor) -> tuple[Tensor, dict]:
        stats = {"adversarial": float(self.adversarial)}
        if not (self.training and self.adversarial):
            # Parameters without a gradient are left alone by the optimizer, weight decay included.
            return torch.zeros((), device=speech.device, requires_grad=True), stats
        # With several processes, DDP overwrites the buffers that a kept graph needs: made again in the other turn.
        keep = torch.is_grad_enabled() and not (dist.is_available() and dist.is_initialized())
        with torch.set_grad_enabled(keep):
            fake, real = self._make(speech)
        if keep:
            self._made = (speech, fake, real)
        loss = self.discriminators.judge(fake, real)
        return loss, {**stats, "discriminator_loss": loss.detach()}

    def _generator_turn(self, speech: Tensor) -> tuple[Tensor, dict]:
        # The generator has not moved since the discriminators' turn on the same batch: what it made then is valid.
        made, self._made = self._made, None
        fake, real = made[1:] if made is not None and made[0] is speech else self._make(speech)
        mel_loss = self.mel_loss(fake, real)
        loss = self.mel_weight * mel_loss
        stats = {"mel_loss": mel_loss.detach()}
        if not self.training:
            mels = [log_mel_of(self.feats_extract, wav) for wav in (fake, real)]
            distance = F.l1_loss(*mels).detach()
            # The mel distance grows when the discriminators set in, while the speech improves: a checkpoint of the
            # warm-up must never be the best one after that.
            selection = distance + (0.0 if self.adversarial else WARM_UP_PENALTY)
            return loss, {**stats, "mel_l1": distance, "selection": selection}
        if self.adversarial:
            adversarial, features = self.discriminators.teach(fake, real)
            loss = loss + adversarial + features
            stats |= {"adversarial_loss": adversarial.detach(), "feature_loss": features.detach()}
        self.generator_steps += 1
        return loss, {**stats, "generator_loss": loss.detach()}

    def _make(self, speech: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S + 2 context) -> generated and true waveforms (B, S)."""
        frames = context_frames(self.feats_extract.config)
        context = frames * self.feats_extract.config.hop_length
        mel = log_mel_of(self.feats_extract, speech)[:, frames:-frames]
        return self.generator(mel), speech[:, context:-context]

    def collect_feats(self, speech: Tensor, speech_lengths: Tensor, **kwargs: Any) -> dict[str, Tensor]:
        """Not needed: the vocoder's training has no statistics stage."""
        raise SiTokError("vocos_train needs no statistics: leave --collect_stats out")


def _checked(option: str, target: type, given: Sequence[str], conf: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of `target`; unknown keys are a SiTokError that lists the legal ones."""
    legal = [name for name in inspect.signature(target.__init__).parameters if name != "self" and name not in given]
    unknown = sorted(set(conf or {}) - set(legal))
    if unknown:
        raise SiTokError(f"{option} has unknown keys: {', '.join(unknown)}; legal keys are {', '.join(legal)}")
    return dict(conf or {})


def build_generator(config: Mapping[str, Any]) -> tuple[AbsFeatsExtract, VocosGenerator]:
    """The mel and the generator that a vocoder's configuration describes."""
    feats_extract = build_slot("feats_extract", config)
    conf = _checked("generator_conf", VocosGenerator, ("config",), config.get("generator_conf"))
    return feats_extract, VocosGenerator(feats_extract.config, **conf)


def build_gan_model(config: Mapping[str, Any]) -> VocosGANModel:
    """The model that a training configuration describes. Raises SiTokError naming the option."""
    feats_extract, generator = build_generator(config)
    conf = _checked("discriminator_conf", VocosDiscriminators, (), config.get("discriminator_conf"))
    networks = ("feats_extract", "generator", "discriminators")
    options = _checked("model_conf", VocosGANModel, networks, config.get("model_conf"))
    return VocosGANModel(feats_extract, generator, VocosDiscriminators(**conf), **options)
