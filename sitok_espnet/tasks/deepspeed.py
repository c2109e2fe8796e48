"""A model under ESPnet's DeepSpeed trainer (--use_deepspeed true --deepspeed_config FILE.json).

That trainer differs from ESPnet's ordinary one in what it expects of a model: it divides the loss by the weight of the
batch without having multiplied by it, and DeepSpeed's own optimizer takes the place of the task's, so that nothing that
hangs on the task's optimizer happens. Optimizer, schedule, clipping and precision come from the JSON file; the training
YAML says the same things, for everything that reads it later, and must not say others.
"""

import argparse
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sitok_espnet.errors import SiTokError

_OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam"}  # ESPnet's name -> DeepSpeed's
_ADAM = {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8}  # torch's defaults
_WEIGHT_DECAY = {"adamw": 0.01, "adam": 0.0}


def read_deepspeed_config(path: str | Path | None) -> dict[str, Any]:
    """The content of a DeepSpeed configuration; SiTokError if there is none."""
    if path is None:
        raise SiTokError("--use_deepspeed needs --deepspeed_config FILE.json (conf/deepspeed/zero2.json)")
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SiTokError(f"--deepspeed_config {path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise SiTokError(f"--deepspeed_config {path} is not an object with options")
    return config


def disagreements(config: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """What a DeepSpeed configuration says otherwise than a training's options, or what it may not say at all.

    Args:
        config: content of the JSON file.
        training: options of the training YAML, as ``optim``, ``optim_conf``, ``grad_clip``.
    """
    found = []

    def compare(key: str, here: Any, there: str, value: Any) -> None:
        if here != value:
            found.append(f"{key} is {here!r}, but {there} is {value!r}")

    for key in ("bf16", "fp16", "amp"):
        if key in config:
            # ESPnet then converts the audio, too, and DeepSpeed the codebook.
            found.append(f"{key} would turn audio, codebook and statistics into 16 bits: use torch_autocast")
    autocast = config.get("torch_autocast", {})
    compare("torch_autocast.enabled", autocast.get("enabled", False), "use_amp", bool(training.get("use_amp", False)))
    if autocast.get("enabled") and autocast.get("dtype") != "bfloat16":
        found.append("torch_autocast.dtype must be 'bfloat16'")
    stage = config.get("zero_optimization", {}).get("stage", 0)
    if stage not in (0, 1, 2):
        found.append(f"zero_optimization.stage {stage} tears the weights apart, as no checkpoint here may: 1 or 2")
    compare("gradient_accumulation_steps", config.get("gradient_accumulation_steps", 1), "what it must be", 1)
    compare("gradient_accumulation_steps", config.get("gradient_accumulation_steps", 1), "accum_grad",
            training.get("accum_grad", 1))  # fmt: skip
    if training.get("weight_average_decay") is not None:
        found.append(
            "weight_average_decay is set, but averages of weights hang on the task's own optimizer: leave it out"
        )
    if "train_batch_size" in config:
        found.append("train_batch_size would fix the number of GPUs: batches are those of batch_type and batch_bins")
    compare("gradient_clipping", config.get("gradient_clipping", 0.0), "grad_clip", training.get("grad_clip", 5.0))
    optim = training.get("optim")
    optimizer = config.get("optimizer", {})
    compare("optimizer.type", optimizer.get("type"), f"optim ({optim})", _OPTIMIZERS.get(optim))
    if optim in _OPTIMIZERS:
        defaults = {**_ADAM, "weight_decay": _WEIGHT_DECAY[optim]}
        conf = {**defaults, **(training.get("optim_conf") or {})}
        params = {**defaults, **optimizer.get("params", {})}
        for key in defaults:
            here, there = (list(x[key]) if key == "betas" else float(x[key]) for x in (params, conf))
            compare(f"optimizer.params.{key}", here, f"optim_conf.{key}", there)
        scheduler = config.get("scheduler", {}).get("params", {})
        if "warmup_max_lr" in scheduler:
            compare("scheduler.params.warmup_max_lr", scheduler["warmup_max_lr"], "optim_conf.lr", conf["lr"])
        warmup = (training.get("scheduler_conf") or {}).get("warmup_steps")
        if "warmup_num_steps" in scheduler and warmup is not None:
            compare("scheduler.params.warmup_num_steps", scheduler["warmup_num_steps"], "warmup_steps", warmup)
    return found


def prepare_for_deepspeed(model: torch.nn.Module, args: argparse.Namespace) -> None:
    """Check the configuration, and make ``model`` (loss, stats, weight) do under that trainer what it does elsewhere.

    With hooks, which leave the names of the weights as they are: the loss of a training batch is multiplied by its
    weight (frames), and what a codebook has collected in a batch is used before the next batch, after the optimizer's
    step. Nothing is done without --use_deepspeed, or where ESPnet does not use it (a single process).

    Raises:
        SiTokError: the configuration contradicts the training's options.
    """
    if not getattr(args, "use_deepspeed", False):
        return
    path = args.deepspeed_config
    if found := disagreements(read_deepspeed_config(path), vars(args)):
        raise SiTokError(f"--deepspeed_config {path} does not fit the training: {'; '.join(found)}")
    if getattr(args, "distributed", False):
        if importlib.util.find_spec("deepspeed") is None:
            raise SiTokError("--use_deepspeed true needs DeepSpeed: pip install deepspeed")
        add_hooks(model)


def add_hooks(model: torch.nn.Module) -> None:
    """The hooks of :func:`prepare_for_deepspeed`."""
    quantizer = getattr(model, "quantizer", None)
    observed = False

    def before(*_: Any) -> None:
        nonlocal observed
        if observed and quantizer is not None:
            quantizer.update_codebook()
        observed = False

    def after(module: torch.nn.Module, _: Any, output: tuple) -> tuple | None:
        nonlocal observed
        if not module.training:
            return None
        observed = True
        loss, stats, weight = output
        return (loss * weight.to(loss.dtype)).sum(), stats, weight

    model.register_forward_pre_hook(before)
    model.register_forward_hook(after)
