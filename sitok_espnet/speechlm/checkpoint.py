"""Open a trained token language model from an experiment or packed directory, and pack one."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

import sitok_espnet
from sitok_espnet.checkpoint import best_checkpoint, find_file, read_weights, round_to_half
from sitok_espnet.computing import check_device
from sitok_espnet.errors import SiTokError
from sitok_espnet.pretrained import locate
from sitok_espnet.speechlm.espnet_model import SpeechLMModel
from sitok_espnet.speechlm.slots import build_speech_lm
from sitok_espnet.speechlm.text import TextTokenizer, load_text_tokenizer

PACKED_WEIGHTS = "speechlm.pth"
PACKED_PIECES = "bpe.model"
MODEL_OPTIONS = ("vocabulary", "text_tokenizer", "pattern", "lm", "lm_conf", "model_conf")


@dataclass(frozen=True)
class LoadedSpeechLM:
    """Attributes: model: in evaluation mode. tokenizer: of its texts. config: what built it. weights: the file read.
    model_hash: 16 hex digits of the weights."""

    model: SpeechLMModel
    tokenizer: TextTokenizer
    config: dict[str, Any]
    directory: Path
    weights: Path
    model_hash: str


def load_speech_lm(directory: str | Path, checkpoint: str | None = None, device: str = "cpu") -> LoadedSpeechLM:
    """Open the experiment of stage 5, what `pack_speech_lm` wrote, or a language model of the package by its name.

    Raises:
        SiTokError: files missing, weights of another architecture, a tokenizer, or a device that is not there.
    """
    check_device(device)
    directory = locate(directory, language_model=True)
    path = directory / "config.yaml"
    if not path.is_file():
        raise SiTokError(f"{directory} holds no config.yaml: give the folder of a language model (sitok_tts1, stage 5)")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SiTokError(f"{path} is not valid YAML ({error}): restore it, or train again") from error
    if isinstance(config, dict) and "pattern" not in config and {"encoder", "quantizer"} & config.keys():
        raise SiTokError(f"{directory} is a tokenizer (--model or --tokenizer), not a language model over its tokens")
    if not isinstance(config, dict) or "pattern" not in config:
        raise SiTokError(f"{path} is not the configuration of a token language model")
    pieces = find_file(directory, config.get("text_tokenizer"), "text_tokenizer")
    if pieces is None:
        raise SiTokError(f"{path} names no text_tokenizer")
    model = build_speech_lm(config)
    tokenizer = load_text_tokenizer(pieces, model.vocabulary.text_size)
    tokenizer.check(model.vocabulary, str(pieces))
    packed = PACKED_WEIGHTS if (directory / PACKED_WEIGHTS).is_file() else None
    weights = directory / (checkpoint or packed or best_checkpoint(config))
    if not weights.is_file():
        raise SiTokError(f"{weights} does not exist: train first (stage 5), or name another checkpoint")
    state = read_weights(weights)
    try:
        model.load_state_dict(state, strict=True)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise SiTokError(f"{weights} does not belong to {path}: {error}") from error
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        values = value.contiguous().reshape(-1).view(torch.uint8)  # NumPy has no bfloat16
        digest.update(f"{name} {tuple(value.shape)}".encode() + values.numpy().tobytes())
    return LoadedSpeechLM(model.to(device).eval(), tokenizer, config, directory, weights, digest.hexdigest()[:16])


def pack_speech_lm(
    experiment: str | Path, output: str | Path, checkpoint: str | None = None, half: bool = False
) -> Path:
    """Write a folder that `load_speech_lm` opens anywhere; an existing one is an error. ``half``: float16 weights."""
    output = Path(output)
    if output.exists():
        raise SiTokError(f"{output} exists: give a new folder")
    loaded = load_speech_lm(experiment, checkpoint)
    state = loaded.model.state_dict()
    config = {key: loaded.config.get(key) for key in MODEL_OPTIONS}
    config |= {
        "text_tokenizer": PACKED_PIECES,
        "package_version": sitok_espnet.__version__,
        "packed_from": loaded.weights.name,
    }
    if config["lm"] == "pretrained":
        # The weights that it started from are not needed any more, only their architecture.
        config |= {"lm": "configured", "lm_conf": loaded.model.lm.architecture()}
    temporary = output.with_name(output.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    pieces = find_file(loaded.directory, loaded.config["text_tokenizer"], "text_tokenizer")
    (shutil.copytree if pieces.is_dir() else shutil.copyfile)(pieces, temporary / PACKED_PIECES)
    torch.save(round_to_half(state) if half else state, temporary / PACKED_WEIGHTS)
    (temporary / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), "utf-8")
    temporary.rename(output)
    return output
