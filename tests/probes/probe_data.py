"""A generated probe task on disk: features with cards, targets, a small YAML, as stages 1 to 4 leave them."""

from pathlib import Path

import numpy as np
import yaml

from sitok_espnet.probes.card import InputCard
from sitok_espnet.probes.store import INDEX
from sitok_espnet.tokens import ark_record, flatten_codes, token_list

SIZES = (8, 4)
TRAINER = {
    "batch_type": "unsorted",
    "batch_size": 16,
    "max_epoch": 12,
    "num_workers": 0,
    "optim": "adamw",
    "optim_conf": {"lr": 2.0e-2},
    "use_tensorboard": False,
    "use_matplotlib": False,
    "best_model_criterion": [["valid", "error", "min"]],
    "keep_nbest_models": 1,
    "grad_clip": 5.0,
    "seed": 0,
}


def write_frames(folder: Path, frames: dict[str, np.ndarray], name: str = "mel") -> Path:
    """A folder like ``dump/feats/mel``, in one file."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "000000.npy", np.concatenate(list(frames.values())).astype(np.float16))
    first, lines = 0, []
    for utterance, values in frames.items():
        lines.append(f"{utterance} 000000.npy {first} {len(values)}\n")
        first += len(values)
    (folder / INDEX).write_text("".join(lines))
    width = next(iter(frames.values())).shape[1]
    InputCard(name, width, "25", "model", "codes", len(frames)).write(folder)
    return folder


def write_codes(folder: Path, codes: dict[str, np.ndarray], sizes=SIZES) -> Path:
    """A folder like ``dump/feats/tokens``."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    archive, scp = b"", []
    for utterance, values in codes.items():
        record, place = ark_record(utterance, flatten_codes(values, sizes))
        scp.append(f"{utterance} {folder / 'tokens.ark'}:{len(archive) + place}\n")
        archive += record
    (folder / "tokens.ark").write_bytes(archive)
    (folder / "wav.scp").write_text("".join(scp))
    (folder / "utt2num_tokens").write_text("".join(f"{u} {len(v)}\n" for u, v in codes.items()))
    (folder / "utt2num_samples").write_text("".join(f"{u} {960 * len(v)}\n" for u, v in codes.items()))
    (folder / "token_list").write_text("".join(f"{name}\n" for name in token_list(sizes)))
    manifest = {
        "layout_version": 1, "package_version": "0", "model_hash": "model", "codes_hash": "codes", "mel_hash": "mel",
        "dtype": "float32", "sample_rate": 24000, "frame_rate": "25", "num_codebooks": len(sizes),
        "codebook_sizes": list(sizes), "num_utterances": len(codes),
        "num_tokens": sum(map(len, codes.values())), "num_samples": 960 * sum(map(len, codes.values())),
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    InputCard("tokens", len(sizes), "25", "model", "codes", len(codes), tuple(sizes)).write(folder)
    return folder


def write_task(folder: Path, kind: str, sets: dict[str, dict[str, str]], trials=(), **about) -> Path:
    """A folder like ``dump/tasks/<task>`` with labels."""
    import json

    for phase, members in sets.items():
        (folder / phase).mkdir(parents=True, exist_ok=True)
        (folder / phase / "target").write_text("".join(f"{u} {t}\n" for u, t in sorted(members.items())))
    (folder / "task.json").write_text(json.dumps({"kind": kind, **about}))
    if trials:
        lines = [f"{a} {b} {'target' if same else 'nontarget'}\n" for a, b, same in trials]
        (folder / "trials").write_text("".join(lines))
    (folder / "targets.txt").write_text("".join(f"{name}\n" for name in sorted(set(sets["train"].values()))))
    return folder


def write_config(path: Path, body: str = "time_pooling", head: str = "softmax", **changes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        yaml.safe_dump({"input_adapter_conf": {"size": 8}, "body": body, "head": head, **TRAINER, **changes})
    )
    return path
