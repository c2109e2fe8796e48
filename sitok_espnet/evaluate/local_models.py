"""Public models of which only weights on this machine are used: a directory, or what the hub's cache holds (ours).

Nothing here ever downloads: a metric that fetches gigabytes in the middle of a scoring, or another revision than the
day before, is worse than one that says how to get them.
"""

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sitok_espnet.evaluate.errors import MetricUnavailable

DEVICE = "SITOK_METRIC_DEVICE"
SHORTEST = 400  # samples: one frame of the convolutions that wav2vec 2.0, HuBERT and WavLM share


@dataclass(frozen=True)
class LocalModel:
    """A pretrained model and its processor, ready to use.

    Attributes:
        model: on `device`, float32, in evaluation mode.
        processor: what prepares its inputs.
        name: hub name and revision, or the name of the directory: never a path, because tables print it.
        version: of the library, and a hash of the weights.
        device: where the model is.
    """

    model: nn.Module
    processor: Any
    name: str
    version: str
    device: torch.device


@dataclass(frozen=True)
class HubModel:
    """Where the weights of a model of `transformers` are looked for.

    Attributes:
        name: on the Hugging Face hub, taken from the local cache if nothing else is given.
        variable: environment variable that holds a directory (of ``save_pretrained``) or another hub name.
        model_class, processor_class: of `transformers`.
        unused: endings of the weights that are not needed here and may be missing.
    """

    name: str
    variable: str
    model_class: str
    processor_class: str
    unused: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        """The commands that fetch the default weights; the first on a machine with network."""
        return (
            f'python -c "from transformers import {self.model_class} as M, {self.processor_class} as P; '
            f"[c.from_pretrained('{self.name}').save_pretrained('DIR') for c in (M, P)]\" on a machine with network, "
            f"then export {self.variable}=DIR"
        )

    def open(self) -> LocalModel:
        """Load it from this machine.

        Raises:
            MetricUnavailable: transformers or the weights are missing or of another class, or there is no such device.
        """
        try:
            import transformers
        except ImportError as error:
            raise MetricUnavailable(f"transformers cannot be imported ({error}): pip install transformers") from error
        device = metric_device()
        given = os.environ.get(self.variable) or self.name
        folder, name = self._find(given)
        try:
            processor = getattr(transformers, self.processor_class).from_pretrained(folder, local_files_only=True)
            model, report = getattr(transformers, self.model_class).from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise MetricUnavailable(
                f"{shown(given)} cannot be loaded as {self.model_class} "
                f"({without_path(_first_line(error), given, folder)}): {self.remedy}"
            ) from error
        # transformers replaces what is missing by random numbers, with no more than a warning.
        if missing := self._lacking(report):
            raise MetricUnavailable(
                f"{shown(given)} lacks weights of {self.model_class} ({', '.join(missing[:3])} ...): {self.remedy}"
            )
        model.eval().to(device)
        made_by = f"transformers {version('transformers')}, weights {hash_weights(model.state_dict())}"
        return LocalModel(model, processor, name, made_by, device)

    def _find(self, given: str) -> tuple[Path, str]:
        """Folder and printable name."""
        folder = Path(given)
        if folder.is_dir():
            return folder, f"{folder.resolve().name} (local directory)"
        if os.environ.get(self.variable) and (folder.is_absolute() or given.startswith(".")):
            raise MetricUnavailable(f"{self.variable}={shown(given)}: no such directory; get it with {self.remedy}")
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(given, local_files_only=True))
        except (OSError, ValueError) as error:  # HFValidationError is a ValueError
            raise MetricUnavailable(f"the weights of {shown(given)} are not on this machine: {self.remedy}") from error
        return folder, f"{given} at {folder.name[:8]}"

    def _lacking(self, report: Mapping) -> list[str]:
        mismatched = [key if isinstance(key, str) else key[0] for key in report.get("mismatched_keys", ())]
        return sorted(key for key in [*report["missing_keys"], *mismatched] if not key.endswith(self.unused or ("\0",)))


def shown(given: str) -> str:
    """What a table may print of a directory or a hub name: of a directory its last part. The log gets the whole."""
    path = Path(given)
    if not (path.is_dir() or path.is_absolute() or given.startswith(".")):
        return given
    logging.warning("looked for in %s", path.resolve())
    return path.resolve().name


def without_path(message: str, *places: str | Path) -> str:
    """A foreign library's message with the last parts of these directories in the place of the whole."""
    whole = {str(place) for place in places} | {str(Path(place).resolve()) for place in places}
    for path in sorted(whole, key=len, reverse=True):
        if Path(path).is_absolute():
            message = message.replace(path, Path(path).name)
    return message


def metric_device() -> torch.device:
    """Where large metric models run: the CPU, or what the environment variable SITOK_METRIC_DEVICE names.

    Raises:
        MetricUnavailable: no such device here.
    """
    name = os.environ.get(DEVICE) or "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise MetricUnavailable(f"{DEVICE}={name}: no such device here ({_first_line(error)})") from error
    return device


def hash_weights(state: Mapping[str, Tensor]) -> str:
    """16 hex digits of names and values: cached measurements of other weights are not used again."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {state[name].dtype} {tuple(state[name].shape)}".encode())
        digest.update(state[name].detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
