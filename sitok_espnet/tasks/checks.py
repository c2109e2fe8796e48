"""Checks before training that ESPnet does not make."""

from pathlib import Path

import torch
import yaml

from sitok_espnet.checkpoint import read_weights
from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.espnet_model import SiTokModel
from sitok_espnet.sitok.slots import build_slot


def check_statistics(model: SiTokModel, stats_file: str | None) -> None:
    """Statistics of another mel are an error: stage 4 leaves its configuration two folders above the file."""
    config = Path(stats_file).parent.parent / "config.yaml" if stats_file else None
    if config is None or not config.is_file():
        return
    made_for = build_slot("feats_extract", yaml.safe_load(config.read_text(encoding="utf-8"))).config
    wanted = model.feats_extract.config
    if made_for.hash() != wanted.hash():
        raise SiTokError(
            f"{stats_file} was made for another mel ({made_for}) than feats_extract_conf has ({wanted}): "
            "run stage 4 again with another --sitok_stats_dir"
        )


def check_init_param(model: torch.nn.Module, specification: str, ignore_mismatch: bool) -> None:
    """``--init_param FILE[:SOURCE[:TARGET[:EXCLUDED,...]]]`` before ESPnet loads it.

    ESPnet's loader would run code in the file and pass over missing keys in silence. Here the file must hold weights
    only, and the keys below TARGET must be those of the model (unless ``--ignore_init_mismatch true``). Parts that a
    refinement adds to the decoder, and that start neutral, may be missing as a whole.
    """
    path, source, target, excluded = (specification.split(":") + ["", "", ""])[:4]
    if not Path(path).is_file():
        raise SiTokError(f"--init_param {path} does not exist: give a checkpoint of weights (*.pth) of stage 5")
    state = read_weights(Path(path))
    if ignore_mismatch:
        return
    skip = tuple(name for name in excluded.split(",") if name)
    kept = [key for key in state if _below(key, source) and not (skip and key.startswith(skip))]
    given = {_moved(key, source, target) for key in kept}
    wanted = {_moved(key, target, source): key for key in model.state_dict() if _below(key, target)}
    expected = {key for at_source, key in wanted.items() if not (skip and at_source.startswith(skip))}
    decoder = getattr(model, "decoder", None)  # a vocoder has none
    for part in decoder.parts_added_in_refinement if decoder is not None else ():
        added = {key for key in expected if _below(key, f"decoder.{part}")}
        expected -= added if added.isdisjoint(given) else set()
    if given != expected:
        missing, extra = sorted(expected - given), sorted(given - expected)
        raise SiTokError(
            f"--init_param {specification}: the file does not fit the model (missing: {', '.join(missing[:3]) or '-'}; "
            f"unknown: {', '.join(extra[:3]) or '-'}): name the parts that fit, as FILE:encoder:encoder"
        )


def _below(key: str, prefix: str) -> bool:
    return not prefix or key == prefix or key.startswith(prefix + ".")


def _moved(key: str, source: str, target: str) -> str:
    """The key with its prefix ``source`` replaced by ``target``."""
    return ".".join(part for part in (target, key[len(source) :].lstrip(".")) if part)
