#!/usr/bin/env python3
"""Stage 6: the configuration of a refinement, and the check that it kept the tokens (PAPER section 2).

A refinement goes on from a trained experiment with encoder and quantizer frozen. Its overlay is laid over everything
that the experiment was trained with (its config.yaml, so that options given on the command line count too) and names

- ``freeze_param``: encoder and quantizer at least, else the tokens would change;
- ``refine: {from_scratch: [...]}``: parts that do not start from the experiment's weights, as ``decoder``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from merge_config import check_keys, merge, read_yaml
from recipe_files import atomic_text

from sitok_espnet.checkpoint import CODE_SLOTS, hash_codes, load_model
from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.slots import count_parameters

REFINE = "refine"
ORIGIN = "refined_from.json"
LENGTH = "max_epoch"  # a refinement may be resumed with another one
FROZEN = ("encoder", "quantizer")  # the slots with parameters that decide codes
# Of the past training alone: where its data and results were, how it was started, and its own initialisation.
RUN_KEYS = frozenset(
    "config print_config output_dir resume dry_run collect_stats write_collected_feats no_forward_run version required "
    "ngpu distributed local_rank multiprocessing_distributed pretrain_path init_param freeze_param "
    "ignore_init_mismatch train_shape_file valid_shape_file train_data_path_and_name_and_type "
    "valid_data_path_and_name_and_type use_preprocessor token_list token_type bpemodel".split()
)


def make_config(config: Mapping[str, Any], overlay: Mapping[str, Any], source: str, weights: str) -> dict[str, Any]:
    """The configuration that refines an experiment.

    Args:
        config: config.yaml of the experiment.
        overlay: what is different, with ``freeze_param`` and, where needed, ``refine``.
        source: name of the overlay, for messages.
        weights: the experiment's checkpoint; it goes into ``init_param``.

    Raises:
        SiTokError: the overlay has unknown options, would change the tokens, or does not make a model.
    """
    overlay = dict(overlay)
    from_scratch = _from_scratch(overlay.pop(REFINE, {}), source)
    base = {key: value for key, value in config.items() if key not in RUN_KEYS and not key.startswith("dist_")}
    check_keys(base, overlay, source)
    merged = merge(base, overlay)
    missing = [name for name in FROZEN if name not in (merged.get("freeze_param") or [])]
    if missing:
        raise SiTokError(
            f"{source}: freeze_param leaves out {', '.join(missing)}: a refinement keeps the tokens, so write "
            "freeze_param: [encoder, quantizer, ctc] (what changes the tokens is a training: stage 5)"
        )
    if hash_codes(config, {}) != hash_codes(merged, {}):
        raise SiTokError(
            f"{source} changes {', '.join(CODE_SLOTS)} or the stacking factor: the tokens would be others (that is a "
            "training: stage 5)"
        )
    try:
        count_parameters({**merged, "token_list": config.get("token_list")})
    except SiTokError as error:
        raise SiTokError(f"{source} over the experiment's configuration does not make a model: {error}") from error
    merged["init_param"] = [weights + (f":::{','.join(from_scratch)}" if from_scratch else "")]
    return merged


def _from_scratch(refine: Any, source: str) -> list[str]:
    """The prefixes of parameters that start anew."""
    if not isinstance(refine, Mapping) or set(refine) - {"from_scratch"}:
        raise SiTokError(f"{source}: {REFINE} has one key, from_scratch (a list such as [decoder]), not {refine!r}")
    prefixes = refine.get("from_scratch") or []
    if not isinstance(prefixes, list) or not all(isinstance(prefix, str) for prefix in prefixes):
        raise SiTokError(f"{source}: {REFINE} from_scratch must be a list of names such as [decoder], not {prefixes!r}")
    if touched := [prefix for prefix in prefixes if prefix.split(".")[0] in CODE_SLOTS]:
        raise SiTokError(f"{source}: {REFINE} from_scratch names {touched[0]}, which decides the tokens")
    return prefixes


def prepare(experiment: str, checkpoint: str | None, overlay: str, output_dir: Path, arguments: str = "") -> None:
    """Write train.yaml and refined_from.json, and print how large the model is.

    ``arguments`` are what stage 6 adds to the command line of the training (``--refine_args``).

    Raises:
        SiTokError: see :func:`make_config`; or a refinement of other weights, or with other options than these, has
            been begun in that folder.
    """
    changes = read_yaml(overlay)
    loaded = load_model(experiment, checkpoint)
    # The configuration as it is on disk: load_model has made its paths absolute.
    config = read_yaml(Path(experiment) / "config.yaml")
    merged = make_config(config, changes, overlay, str(loaded.weights))
    origin = {
        "experiment": experiment,
        "checkpoint": str(loaded.weights),
        "model_hash": loaded.model_hash,
        "codes_hash": loaded.codes_hash,
        "config": {key: value for key, value in merged.items() if key not in ("init_param", LENGTH)},
        "arguments": _without_length(arguments),
    }
    origin = json.loads(json.dumps(origin))  # as it will be read
    if (output_dir / "checkpoint.pth").exists():
        began = _read_origin(output_dir)
        if began["model_hash"] != loaded.model_hash:
            raise SiTokError(
                f"{output_dir} refines {began['checkpoint']} as it was (model {began['model_hash']}), not "
                f"{loaded.weights} as it is now (model {loaded.model_hash}): remove or rename {output_dir}, or run "
                "with the options it was begun with"
            )
        if other := _differences(began, origin):
            raise SiTokError(
                f"{output_dir} was begun with other options ({'; '.join(other)}): remove or rename {output_dir}, or "
                f"run with the options it was begun with (only {LENGTH} may change)"
            )
    output_dir.mkdir(parents=True, exist_ok=True)
    head = f"# Made by local/refine.py: {experiment}/config.yaml, overlay: {overlay}\n"
    with atomic_text(output_dir / "train.yaml") as file:
        file.write(head + yaml.safe_dump(merged, sort_keys=False, allow_unicode=True))
    with atomic_text(output_dir / ORIGIN) as file:
        file.write(json.dumps(origin, indent=2) + "\n")
    before, parameters = (
        count_parameters({**part, "token_list": config.get("token_list")}) for part in (config, merged)
    )
    sizes = [f"{count / 1e6:,.1f} M" for count in (parameters["total"], parameters["decoder"], before["total"])]
    print(f"{output_dir}: {sizes[0]} parameters, {sizes[1]} the decoder's (before: {sizes[2]}); overlay {overlay}")


def _without_length(arguments: str) -> list[str]:
    """The words of a command line without ``--max_epoch N``."""
    words = shlex.split(arguments)
    flag = f"--{LENGTH}"
    return [word for before, word in zip(["", *words], words, strict=False) if flag not in (before, word)]


def _differences(began: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``["optim_conf: {lr: 1} was {lr: 2}", ...]``."""
    before, after = ({**origin.get("config", {}), "--refine_args": origin.get("arguments")} for origin in (began, now))
    keys = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    return [f"{key} {after.get(key)}, was {before.get(key)}" for key in keys]


def check(output_dir: Path) -> str:
    """codes_hash of the refined experiment, which must be that of its origin.

    Raises:
        SiTokError: it is another one.
    """
    began, refined = _read_origin(output_dir), load_model(output_dir)
    if refined.codes_hash != began["codes_hash"]:
        raise SiTokError(
            f"{output_dir} makes other tokens than {began['experiment']} (codes_hash {refined.codes_hash}, was "
            f"{began['codes_hash']}): something of {', '.join(CODE_SLOTS)} was trained or replaced although a "
            f"refinement freezes it. Do not use it: look for options that override freeze_param or init_param in "
            f"--refine_args, then remove {output_dir} and run stage 6 again"
        )
    return refined.codes_hash


def _read_origin(output_dir: Path) -> dict[str, str]:
    try:
        return json.loads((output_dir / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SiTokError(
            f"{output_dir / ORIGIN} cannot be read ({error}): it says what was refined; remove {output_dir} and run "
            "stage 6 again"
        ) from error


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    before = verbs.add_parser("prepare", help="write OUTPUT_DIR/train.yaml and refined_from.json")
    before.add_argument("--experiment", required=True, help="trained experiment to start from")
    before.add_argument("--checkpoint", default=None, help="file name in it; default: its best one")
    before.add_argument("--arguments", default="", help="what is added to the training's command line (--refine_args)")
    before.add_argument("--overlay", required=True, help="YAML of the refinement (conf/refine/*.yaml)")
    after = verbs.add_parser("check", help="compare the codes_hash of both experiments")
    for verb in (before, after):
        verb.add_argument("--output_dir", required=True, type=Path, help="experiment of the refinement")
    return parser


def main(cmd: Sequence[str] | None = None) -> int:
    """Entry point."""
    args = get_parser().parse_args(cmd)
    try:
        if args.verb == "prepare":
            prepare(args.experiment, args.checkpoint, args.overlay, args.output_dir, args.arguments)
        else:
            print(f"{args.output_dir}: the tokens are the same as before (codes_hash {check(args.output_dir)})")
    except SiTokError as error:
        print(f"refine.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
