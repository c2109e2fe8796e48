"""Vocos as a vocoder: opening what `vocos_train` trained, and packing it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

import sitok_espnet
from sitok_espnet.checkpoint import best_checkpoint, read_weights, round_to_half
from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.vocoder.abs_vocoder import AbsVocoder
from sitok_espnet.vocoder.gan_model import build_generator

PACKED_WEIGHTS = "vocoder.pth"
MEL_HASH = "feats_extract.mel_hash"
# What else a training checkpoint holds; anything beyond is not a checkpoint of ours.
TRAINING_ONLY = ("discriminators", "mel_loss", "generator_steps")


class Vocos(AbsVocoder):
    """A trained generator (VocosGenerator) with the mel that it was trained on.

    Attributes:
        config: that mel.
        identity: 16 hex digits of the weights and the mel.
        source: the configuration file.
        weights: the checkpoint that was read.
    """

    def __init__(self, path: str | Path, checkpoint: str | None = None, config: MelConfig | None = None) -> None:
        """Args:
        path: experiment directory of vocos_train, or what `pack_vocoder` wrote.
        checkpoint: file name in it; by default the packed weights, or the experiment's best by its first criterion.
        config: the mel of the tokenizer, or None to accept any.

        Raises:
            SiTokError: files missing, weights of another architecture or mel.
        """
        super().__init__()
        directory = Path(path)
        self.source, settings = _read_config(directory)
        feats_extract, generator = build_generator(settings)
        self.config = feats_extract.config
        if config is not None and config.hash() != self.config.hash():
            raise SiTokError(
                f"the vocoder in {directory} was trained on another mel (hash {self.config.hash()}) than the tokenizer "
                f"({config.hash()}): train one with the tokenizer's feats_extract_conf (vocos_train), or name another"
            )
        packed = PACKED_WEIGHTS if (directory / PACKED_WEIGHTS).is_file() else None
        self.weights = directory / (checkpoint or packed or best_checkpoint(settings))
        state = _generator_state(self.weights, feats_extract)
        try:
            generator.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise SiTokError(
                f"{self.weights} does not belong to {self.source} (another generator_conf?): {error}"
            ) from error
        self.generator = generator.eval()
        self.mel_hash = feats_extract.mel_hash
        self.settings = {key: settings.get(key) for key in ("feats_extract", "feats_extract_conf", "generator_conf")}
        self.identity = _digest(self.config, self.generator.state_dict())  # in float32, however it was stored

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, F, M) log-mel -> (B, hop * F) waveform; rows are computed one by one, so that they are independent."""
        with torch.no_grad():
            return torch.cat([self.generator(row[None]) for row in log_mel])


def _read_config(directory: Path) -> tuple[Path, dict[str, Any]]:
    path = directory / "config.yaml"
    if not path.is_file():
        raise SiTokError(
            f"{directory} holds no config.yaml: give vocoder_conf path= the folder of a vocoder training (vocos_train, "
            "stage 6) or a packed vocoder"
        )
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SiTokError(f"{path} is not valid YAML ({error}): restore it, or train again") from error
    if not isinstance(settings, dict) or "generator_conf" not in settings:
        raise SiTokError(f"{path} is not the configuration of a vocoder (vocos_train makes one)")
    return path, settings


def _generator_state(path: Path, feats_extract: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The generator's part of a checkpoint, after comparing the mel that it was trained on."""
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in path.parent.glob("*.pth"))) or "none"
        raise SiTokError(f"{path} does not exist (checkpoints there: {there}): train first, or name another")
    state = read_weights(path)
    known = ("generator", "feats_extract", *TRAINING_ONLY)
    foreign = [key for key in state if str(key).split(".")[0] not in known] if isinstance(state, dict) else ["no keys"]
    if foreign or MEL_HASH not in state:
        what = f"unknown: {foreign[0]}" if foreign else f"no {MEL_HASH}"
        raise SiTokError(f"{path} is not a checkpoint of a vocoder ({what}): name one that vocos_train made")
    try:
        feats_extract.load_state_dict({MEL_HASH.split(".")[1]: state[MEL_HASH]}, strict=True)
    except SiTokError as error:
        raise SiTokError(f"{path}: {error}") from error
    prefix = "generator."
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def _digest(config: MelConfig, state: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(config.hash().encode())
    for name in sorted(state):
        digest.update(f"{name} {tuple(state[name].shape)}".encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def pack_vocoder(source: str | Path, output: Path, config: MelConfig, half: bool = False) -> None:
    """Write a new folder that `Vocos` opens anywhere: the generator's weights and its configuration.

    Args:
        source: experiment directory of vocos_train, or a packed vocoder.
        output: the folder to make; the caller moves it into place.
        config: the mel of the tokenizer that it goes with.
        half: store float16; the packed vocoder is then the rounded one, with an identity of its own.

    Raises:
        SiTokError: as Vocos; weights beyond float16.
    """
    vocoder = Vocos(source, config=config)
    output.mkdir(parents=True)
    weights = vocoder.generator.state_dict()
    if half:
        weights = round_to_half(weights)
    state = {f"generator.{key}": value for key, value in weights.items()} | {MEL_HASH: vocoder.mel_hash}
    torch.save(state, output / PACKED_WEIGHTS)
    settings = {
        "vocoder": "vocos",
        **vocoder.settings,
        "package_version": sitok_espnet.__version__,
        "mel_hash": vocoder.config.hash(),
        "vocoder_hash": _digest(vocoder.config, {key: value.float() for key, value in weights.items()}),
        "packed_from": vocoder.weights.name,
    }
    (output / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
