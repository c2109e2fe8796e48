"""Weights of the best epochs of a DeepSpeed training, as ESPnet's ordinary trainer leaves them.

ESPnet's DeepSpeed trainer keeps every epoch in a folder checkpoint_N and makes links to N``epoch.pth``, which nobody
writes. This writes them, and PHASE.CRITERION.best.pth, from which everything else here takes the model.
"""

import argparse
import datetime
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from espnet2.train.reporter import Reporter

from sitok_espnet.bin.command import run_command
from sitok_espnet.errors import SiTokError

# What the report of a training is made of; with it a checkpoint is read without running any code that it may hold.
_NUMBERS = (np.float64(0), np.float32(0))
_SAFE = [np.dtype, datetime.timedelta, *(x.__reduce__()[0] for x in _NUMBERS), *(type(x.dtype) for x in _NUMBERS)]


def read_states(folder: Path, epoch: int) -> dict[str, Any]:
    """What DeepSpeed kept of an epoch, without the optimizer; SiTokError if it cannot be read, or lacks weights."""
    path = folder / f"checkpoint_{epoch}" / f"{epoch}" / "mp_rank_00_model_states.pt"
    try:
        with torch.serialization.safe_globals(_SAFE):
            states = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many types for damaged files
        raise SiTokError(f"{path} is not a readable checkpoint of DeepSpeed ({error})") from error
    if any(tensor.numel() == 0 for tensor in states["module"].values()):
        raise SiTokError(f"{path} has only a part of the weights (ZeRO stage 3): take zero_optimization.stage 1 or 2")
    return states


def write_weights(folder: Path) -> list[Path]:
    """The links to the best epochs' weights, by every criterion of the experiment's configuration.

    Raises:
        SiTokError: no finished epoch, or none with the criterion.
    """
    # `latest` is the last file of an epoch.
    epochs = sorted(int(path.parent.name.rpartition("_")[2]) for path in folder.glob("checkpoint_*/latest"))
    if not epochs:
        raise SiTokError(f"{folder} has no finished epoch of a DeepSpeed training (checkpoint_N/latest)")
    criteria = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["best_model_criterion"]
    reporter = Reporter()
    reporter.load_state_dict(read_states(folder, epochs[-1])["reporter"])
    links = []
    for phase, key, mode in criteria:
        if not reporter.has(phase, key):
            raise SiTokError(f"{folder}: best_model_criterion {phase} {key} was never measured")
        best = reporter.sort_epochs_and_values(phase, key, mode)[0][0]
        weights = folder / f"{best}epoch.pth"
        temporary = weights.with_suffix(".tmp")
        torch.save(dict(read_states(folder, best)["module"]), temporary)
        temporary.replace(weights)
        link = folder / f"{phase}.{key}.best.pth"
        link.unlink(missing_ok=True)
        link.symlink_to(weights.name)
        links.append(link)
    return links


def main(cmd=None) -> int:
    """Entry point; ``cmd`` is a list of arguments, by default those of the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path)
    args = parser.parse_args(cmd)

    def work() -> None:
        for link in write_weights(args.experiment):
            print(f"{link} -> {link.resolve().name}")

    return run_command("deepspeed_weights", work)


if __name__ == "__main__":
    sys.exit(main())
