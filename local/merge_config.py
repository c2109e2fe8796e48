#!/usr/bin/env python3
"""Merge a training YAML with overlays into one full YAML: what ablations, refinements and scales are made of.

Mappings merge key by key, everything else is replaced. Where an overlay changes the class of a slot (or of the
optimizer or scheduler), the options that the class before it had are dropped: they belong to the other class.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from recipe_files import atomic_text

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.slots import CLASS_DEFAULTS, count_parameters

# The notes of an ablation row (conf/ablation/README.md): read here and by local/ablate.py, no option of the training.
NOTES = "ablation"
# Options of ESPnet's trainer that overlays use; others are looked up in its parser, which takes seconds to import.
COMMON = frozenset(
    "init_param freeze_param ignore_init_mismatch resume seed use_amp max_epoch patience num_iters_per_epoch "
    "batch_type batch_bins accum_grad grad_clip num_workers keep_nbest_models best_model_criterion".split()
)


def merge(base: Mapping[str, Any], *overlays: Mapping[str, Any]) -> dict[str, Any]:
    """The base with the overlays laid over it in their order; the arguments stay as they are.

    The notes of an overlay (``ablation:``) may hold three things that matter here: ``scale: NAME``, in an overlay of
    conf/ablation/scale, chooses for all overlays after it what their ``at: {NAME: {...}}`` lays over themselves; and
    ``keep: {decoder_conf: [num_heads, ...]}`` lists options that a replaced class hands on to the new one.

    Raises SiTokError where a mapping meets something else (``quantizer_conf: 3``).
    """
    merged = copy.deepcopy(dict(base))
    scale = notes_of(base).get("scale")
    for overlay in overlays:
        notes = notes_of(overlay)
        scale = notes.get("scale", scale)
        merged = _lay_over(merged, overlay, notes.get("keep") or {})
        merged = _lay_over(merged, (notes.get("at") or {}).get(scale) or {}, {})
    merged.pop(NOTES, None)
    return merged


def notes_of(overlay: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an overlay's ``ablation:`` says, {} where it has none."""
    notes = overlay.get(NOTES) or {}
    if not isinstance(notes, Mapping):
        raise SiTokError(f"{NOTES}: {notes!r} is not a mapping (conf/ablation/README.md says what it holds)")
    return notes


def _lay_over(
    below: Mapping[str, Any], overlay: Mapping[str, Any], keep: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """One overlay; the options of a class that it replaces are dropped but for those in ``keep``."""
    merged = dict(below)
    for name, default in CLASS_DEFAULTS.items():
        # A base that leaves a slot without a default open (normalize, switched on by stage 5) keeps its options.
        named = name in merged or default is not None
        if name in overlay and named and overlay[name] != merged.get(name, default):
            options = f"{name}_conf"
            kept = {
                key: value for key, value in (merged.pop(options, {}) or {}).items() if key in keep.get(options, ())
            }
            if kept:
                merged[options] = kept
    return _merge_mappings(merged, {key: value for key, value in overlay.items() if key != NOTES}, "")


def _merge_mappings(below: Mapping[str, Any], above: Mapping[str, Any], where: str) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge_mappings(old, value, f"{where}{key}.")
        elif old is not None and value is not None and isinstance(old, Mapping) != isinstance(value, Mapping):
            raise SiTokError(f"{where}{key}: {value!r} cannot be laid over {old!r}: one is a mapping, the other is not")
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML mapping; raises SiTokError for a missing file, a syntax error or anything but a mapping."""
    path = Path(path)
    if not path.is_file():
        raise SiTokError(f"{path} does not exist")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SiTokError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if content is not None and not isinstance(content, Mapping):
        raise SiTokError(f"{path} holds {type(content).__name__}, not a mapping of options")
    return dict(content or {})


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``["max_epoch=6", "decoder_conf.num_layers=2"]`` as one overlay; values are YAML, 1e-3 is a number."""
    overlay: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise SiTokError(f"--set {setting!r} is not KEY=VALUE (KEY may have dots: decoder_conf.num_layers=2)")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SiTokError(f"--set {setting!r}: the value is not valid YAML") from error
        for part in reversed(key.split(".")):
            value = {part: _number(value)}
        overlay = _merge_mappings(overlay, value, "")
    return overlay


def _number(value: Any) -> Any:
    """YAML reads 1e-3 as text, because it has no point."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def check_keys(base: Mapping[str, Any], overlay: Mapping[str, Any], source: str) -> None:
    """Top-level keys of an overlay, at any scale, must be options of the training; SiTokError names the others."""
    known = {*base, *CLASS_DEFAULTS, *(f"{name}_conf" for name in CLASS_DEFAULTS), "model_conf", NOTES, *COMMON}
    variants = (notes_of(overlay).get("at") or {}).values()
    unknown = sorted(str(key) for key in set(overlay).union(*variants) - known)
    if unknown:
        from sitok_espnet.tasks.sitok import SiTokTask

        options = {action.dest for action in SiTokTask.get_parser()._actions}
        unknown = [key for key in unknown if key not in options]
    if unknown:
        raise SiTokError(f"{source}: unknown options {', '.join(unknown)}: neither the base nor the training has them")


def merge_files(base: str | Path, overlays: Sequence[str | Path] = (), settings: Sequence[str] = ()) -> dict[str, Any]:
    """Merge YAML files and ``--set`` options, and prove that the model they describe can be built.

    Returns: the full training configuration.
    Raises SiTokError: a file that cannot be read, an unknown option, or a model that cannot be built (unknown choice,
        unknown key, impossible sizes).
    """
    bottom = read_yaml(base)
    layers = [(str(path), read_yaml(path)) for path in overlays]
    if settings:
        layers.append(("--set", parse_settings(settings)))
    for source, overlay in layers:
        check_keys(bottom, overlay, source)
    merged = merge(bottom, *(overlay for _, overlay in layers))
    try:
        count_parameters(merged)  # on the meta device: no memory, no time
    except SiTokError as error:
        names = " + ".join([str(base), *(source for source, _ in layers)])
        raise SiTokError(f"{names} do not make a model: {error}") from error
    return merged


def write_config(
    out: str | Path,
    config: Mapping[str, Any],
    base: str | Path,
    overlays: Sequence[str | Path],
    settings: Sequence[str],
) -> None:
    """Write the YAML atomically, headed by a comment that says what it was made of."""
    lines = [f"# Made by local/merge_config.py; base: {base}"]
    lines += [f"# overlay: {overlay}" for overlay in overlays]
    lines += [f"# set: {setting}" for setting in settings]
    with atomic_text(out) as file:
        file.write("\n".join(lines) + "\n" + yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="YAML to write")
    parser.add_argument("base", help="full training YAML")
    parser.add_argument("overlays", nargs="*", help="YAML files laid over it, in this order")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="single options, laid over last"
    )
    return parser


def main(cmd: Sequence[str] | None = None) -> int:
    """Entry point."""
    args = get_parser().parse_args(cmd)
    try:
        config = merge_files(args.base, args.overlays, args.set)
        write_config(args.out, config, args.base, args.overlays, args.set)
    except SiTokError as error:
        print(f"merge_config.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
