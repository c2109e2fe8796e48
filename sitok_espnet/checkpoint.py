"""Load a trained tokenizer from an experiment or packed directory, and pack one."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

import sitok_espnet
from sitok_espnet.errors import SiTokError
from sitok_espnet.pretrained import PACKED_VOCODER
from sitok_espnet.sampling import INFERENCE, packed_sampling
from sitok_espnet.sitok.espnet_model import SiTokModel
from sitok_espnet.sitok.slots import SLOTS, build_model

UNTRAINED = "untrained"
PACKED_WEIGHTS = "model.pth"
PACKED_STATISTICS = "feats_stats.npz"
PACKED_PIECES = "bpe.model"


@dataclass(frozen=True)
class LoadedModel:
    """model: in eval mode. config: what built it. weights: the file read, None for the untrained model.

    model_hash: 16 hex digits of architecture and weights; token dumps and packed directories carry it.
    codes_hash: the same of what decides the codes alone: a refined decoder (encoder and quantizer frozen) keeps it.
    """

    model: SiTokModel
    config: dict[str, Any]
    directory: Path
    weights: Path | None
    model_hash: str
    codes_hash: str


def load_model(directory: str | Path, checkpoint: str | None = None, device: str = "cpu") -> LoadedModel:
    """Open a packed directory (stage 9) or an experiment directory (stage 5).

    Args:
        directory: holds config.yaml and weights.
        checkpoint: file name in it; by default the packed weights, or the experiment's best by its first criterion.
            "untrained" gives the seeded random initialisation with the experiment's normalisation statistics.
        device: where the model goes.

    Raises:
        SiTokError: files missing; weights of another architecture, mel or vocabulary.
    """
    directory = Path(directory)
    config = read_config(directory)
    if checkpoint == UNTRAINED:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(config.get("seed") or 0))
            model, weights = build_model(config), None
    else:
        packed = PACKED_WEIGHTS if (directory / PACKED_WEIGHTS).is_file() else None
        weights = directory / (checkpoint or packed or best_checkpoint(config))
        model = build_model(config)
        _load_weights(model, weights)
    hashes = hash_model(config, model.state_dict()), hash_codes(config, model.state_dict())
    return LoadedModel(model.to(device).eval(), config, directory, weights, *hashes)


def read_config(directory: Path) -> dict[str, Any]:
    """The configuration of an experiment or packed directory, its statistics file found; SiTokError if it has none."""
    path = directory / "config.yaml"
    if not path.is_file():
        raise SiTokError(
            f"{directory} holds no config.yaml: give the folder of an experiment (stage 5) or a packed one (stage 9)"
        )
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SiTokError(f"{path} is not valid YAML ({error}): restore it, or train again") from error
    if isinstance(config, dict) and {"pattern", "vocabulary"} <= config.keys():
        raise SiTokError(f"{directory} is a language model over tokens (`sitok tts --lm`), not a tokenizer")
    if not isinstance(config, dict) or not set(SLOTS) & set(config):
        raise SiTokError(f"{path} is not the configuration of a SiTok model")
    normalize_conf = dict(config.get("normalize_conf") or {})
    if config.get("normalize") is not None and "stats_file" in normalize_conf:
        normalize_conf["stats_file"] = str(
            find_file(directory, normalize_conf["stats_file"], "normalize_conf stats_file")
        )
    return {**config, "normalize_conf": normalize_conf}


def find_file(directory: Path, name: str | None, option: str) -> Path | None:
    """A file or folder that a configuration names relative to its own folder, the current one, or the recipe above it.

    None for None; SiTokError naming the ``option`` where it is nowhere.
    """
    if name is None:
        return None
    for base in (directory, Path(), *directory.resolve().parents):
        if (base / name).exists():
            return base / name
    raise SiTokError(
        f"{directory / 'config.yaml'}: {option} {name} is not found from the model's folder, the current folder or any "
        "folder above the model: keep the recipe together, or pack the model (stage 9)"
    )


def best_checkpoint(config: Mapping[str, Any]) -> str:
    """File name of the best checkpoint by the first criterion, as ESPnet's trainer names it."""
    phase, criterion = (config.get("best_model_criterion") or [["valid", "loss", "min"]])[0][:2]
    return f"{phase}.{criterion}.best.pth"


def _load_weights(model: SiTokModel, path: Path) -> None:
    """Strictly: every key must match (ESPnet's own loader accepts missing ones)."""
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in path.parent.glob("*.pth"))) or "none"
        raise SiTokError(f"{path} does not exist (checkpoints there: {there}): train first (stage 5), or name another")
    try:
        model.load_state_dict(read_weights(path), strict=True)
    except SiTokError as error:
        raise SiTokError(f"{path}: {error}") from error
    except (RuntimeError, AttributeError, TypeError) as error:
        raise SiTokError(
            f"{path} does not belong to the configuration beside it (another architecture or vocabulary): {error}"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """A checkpoint of weights, without running any code that it may hold; SiTokError if it is none."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many types for damaged files
        raise SiTokError(f"{path} is not a readable checkpoint of weights ({error}): copy or train it again") from error


def hash_model(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """16 hex digits of everything in a model: slots, their options, weights."""
    return _hash(model_config(config), state)


CODE_SLOTS = ("feats_extract", "normalize", "encoder", "quantizer")
NOT_IN_CODES = ("ema_count", "ema_sum", "num_updates")


def hash_codes(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """16 hex digits of what decides codes and their meaning: mel, normalisation, encoder, quantizer, stacking."""
    architecture = {key: config.get(key) for slot in CODE_SLOTS for key in (slot, f"{slot}_conf")}
    architecture["stacking_factor"] = (config.get("model_conf") or {}).get("stacking_factor", 4)
    deciding = {k: v for k, v in state.items() if k.split(".")[0] in CODE_SLOTS and not k.endswith(NOT_IN_CODES)}
    return _hash(architecture, deciding)


def _hash(architecture: dict[str, Any], state: Mapping[str, Tensor]) -> str:
    architecture.pop("normalize_conf", None)  # its statistics are buffers among the weights
    digest = hashlib.sha256(json.dumps(architecture, sort_keys=True).encode())
    for name in sorted(state):
        digest.update(f"{name} {state[name].dtype} {tuple(state[name].shape)}".encode())
        digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def model_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a training configuration that a trained model needs."""
    keys = [key for slot in SLOTS for key in (slot, f"{slot}_conf")] + ["model_conf", "token_list"]
    return {key: config.get(key) for key in keys}


def pack(
    experiment: str | Path,
    output: str | Path,
    checkpoint: str | None = None,
    vocoder: str | Path | None = None,
    half: bool = False,
    steps: int | None = None,
    temperature: float | None = None,
) -> Path:
    """Write a folder that :func:`load_model` opens anywhere: config.yaml, weights, statistics, text pieces.

    ``vocoder``, an experiment directory of vocos_train, is packed into it and becomes the default of inference.
    ``half`` stores weights, the vocoder's too, as float16, half the size; the packed model is then the rounded one,
    with a hash (and some codes) of its own. ``steps`` and ``temperature`` are what suits the model, where that is not
    the usual: inference takes them where none is asked for.

    It is made under a temporary name and moved into place. A folder that was packed before is replaced; anything else
    at that place is an error.
    """
    output = Path(output).resolve()
    if output.exists() and not _is_replaceable(output):
        raise SiTokError(f"{output.name} exists and is not a packed model: give --output_dir a new folder")
    loaded = load_model(experiment, checkpoint)
    state = loaded.model.state_dict()
    if half:
        state = round_to_half(state)
    config = model_config(loaded.config) | {
        "package_version": sitok_espnet.__version__,
        "mel_hash": loaded.model.feats_extract.config.hash(),
        "model_hash": hash_model(
            loaded.config, {k: v.float() if v.dtype == torch.half else v for k, v in state.items()}
        ),
        "packed_from": loaded.weights.name if loaded.weights else UNTRAINED,
    }
    temporary = output.with_name(output.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    defaults = {"steps": steps, "temperature": temperature}
    if defaults := {name: value for name, value in defaults.items() if value is not None}:
        config[INFERENCE] = _check_defaults(loaded.model, defaults)
    if config.get("normalize") is not None:
        shutil.copyfile(config["normalize_conf"]["stats_file"], temporary / PACKED_STATISTICS)
        config["normalize_conf"] = {**config["normalize_conf"], "stats_file": PACKED_STATISTICS}
    pieces = find_file(loaded.directory, loaded.config.get("bpemodel"), "bpemodel")
    if pieces is not None:
        shutil.copyfile(pieces, temporary / PACKED_PIECES)
        config["bpemodel"] = PACKED_PIECES
    torch.save(state, temporary / PACKED_WEIGHTS)
    (temporary / "config.yaml").write_text(
        yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    if vocoder is not None:
        # Imported here: it imports this module, and is slow to import.
        from sitok_espnet.vocoder.vocos import pack_vocoder

        pack_vocoder(vocoder, temporary / PACKED_VOCODER, loaded.model.feats_extract.config, half)
    before = output.with_name(output.name + ".before")
    shutil.rmtree(before, ignore_errors=True)
    if output.exists():
        output.rename(before)
    temporary.rename(output)
    shutil.rmtree(before, ignore_errors=True)
    return output


def _check_defaults(model: SiTokModel, defaults: dict[str, Any]) -> dict[str, Any]:
    if not model.decoder.iterative:
        raise SiTokError(f"the decoder does not iterate: leave out the default of {', '.join(defaults)}")
    checked = packed_sampling({INFERENCE: defaults})
    return {name: getattr(checked, name) for name in defaults}


def round_to_half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Float32 tensors as float16, the others as they are; SiTokError where a value is too large for it."""
    rounded = {name: value.half() if value.dtype == torch.float32 else value for name, value in state.items()}
    for name, value in rounded.items():
        if not value.isfinite().all():
            raise SiTokError(f"{name} has values beyond float16: pack it without --half")
    return rounded


def _is_replaceable(folder: Path) -> bool:
    """An empty folder, or one that :func:`pack` made."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    config = folder / "config.yaml"
    return config.is_file() and "packed_from" in (yaml.safe_load(config.read_text(encoding="utf-8")) or {})
