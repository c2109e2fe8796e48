"""Dumping the tokens of a corpus in shards: resumable, splittable, byte-identical to an uninterrupted run.

The plan (what is encoded, by which model, cut how) is decided and written before the first shard. A shard is a fixed
run of utterances with fixed batches; it counts only when its .json is in place, and is otherwise redone whole. When
all shards are there, whichever process notices it joins them and writes the manifest last; two processes doing so
at once write the same bytes. DESIGN sections 5 and 6, promise 6.
"""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import DTYPES, SiTok
from sitok_espnet.inputs import AudioInput, is_ark_entry, load_at_rate
from sitok_espnet.tokens import ark_record, flatten_codes, make_manifest, set_files

PLAN = "plan.json"
SHARDS = ".shards"
COMPARED_UTTERANCES = 16  # of the first shard, encoded in float32 as well when the dump is bfloat16


@dataclass(frozen=True)
class DumpOptions:
    """shard_size: utterances a shard. batch_seconds: bound of a batch. resample: convert other rates, else refuse.

    num_jobs, job: this process encodes shards job - 1, job - 1 + num_jobs, ... (job counts from 1).
    """

    shard_size: int = 64
    batch_seconds: float = 120.0
    resample: bool = False
    num_jobs: int = 1
    job: int = 1

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise SiTokError(f"shard_size must be at least 1, got {self.shard_size}")
        if not self.batch_seconds > 0:
            raise SiTokError(f"batch_seconds must be positive, got {self.batch_seconds}")
        if not 1 <= self.job <= self.num_jobs:
            raise SiTokError(f"job must be from 1 to num_jobs, got job {self.job} of {self.num_jobs}")


def dump_tokens(
    tokenizer: SiTok,
    inputs: Sequence[AudioInput],
    output_dir: Path | str,
    options: DumpOptions | None = None,
    progress: bool = True,
) -> bool:
    """Encode this job's unfinished shards, and join all if none is missing.

    Returns:
        Whether the dump is complete (with several jobs, the last one to end completes it).

    Raises:
        SiTokError: naming utterance and file, for audio that cannot be encoded; a directory with another plan; a
            model without codes. What was finished before stays and is not done again.
    """
    options = options or DumpOptions()
    if not tokenizer.num_codebooks:
        raise SiTokError(
            f"quantizer {tokenizer.config.get('quantizer')!r} is continuous and has no codes: nothing to dump "
            f"(model {tokenizer.directory}); go on with stage 8, or train with a quantizer that has codes"
        )
    if not inputs:
        raise SiTokError("nothing to dump: the list of utterances is empty")
    output_dir = Path(output_dir)
    plan = make_plan(tokenizer, inputs, options)
    _claim(output_dir, plan)
    if (output_dir / "manifest.json").is_file():
        return True
    number_of_shards = -(-len(inputs) // options.shard_size)
    shards = output_dir / SHARDS
    shards.mkdir(exist_ok=True)
    mine = range(options.job - 1, number_of_shards, options.num_jobs)
    size = options.shard_size
    total = sum(len(inputs[n * size : (n + 1) * size]) for n in mine)
    with tqdm(total=total, unit="utt", desc=f"tokens {output_dir.name}", disable=not progress) as bar:
        for number in mine:
            part = inputs[number * size : (number + 1) * size]
            if not _shard_file(shards, number, "json").is_file():
                _encode_shard(tokenizer, part, shards, number, options)
            bar.update(len(part))
    return finish(tokenizer, output_dir, plan, number_of_shards)


def make_plan(tokenizer: SiTok, inputs: Sequence[AudioInput], options: DumpOptions) -> dict:
    """Everything that decides the bytes of the dump. Jobs are not in it: any split gives the same result."""
    digest = hashlib.sha256()
    for item in inputs:
        # The size tells audio that was made again under the same name.
        size = "" if is_ark_entry(item.location) else _size(item)
        digest.update(f"{item.utt} {item.location} {size}\n".encode())
    return {
        **make_manifest(tokenizer, dtype_name(tokenizer)),
        "device": tokenizer.device.type,
        "num_utterances": len(inputs),
        "utterances": digest.hexdigest()[:16],
        "shard_size": options.shard_size,
        "batch_seconds": float(options.batch_seconds),
        "resample": options.resample,
    }


def dtype_name(tokenizer: SiTok) -> str:
    """float32 or bfloat16."""
    return next(name for name, dtype in DTYPES.items() if dtype == tokenizer.dtype)


def _size(item: AudioInput) -> int:
    try:
        return os.path.getsize(item.location)
    except OSError as error:
        raise SiTokError(f"utterance {item.utt}: {item.location}: no such audio file ({error.strerror})") from error


def _claim(output_dir: Path, plan: dict) -> None:
    """Write the plan, or compare it with the one that is there."""
    path = output_dir / PLAN
    if not path.is_file():
        (output_dir / SHARDS).mkdir(parents=True, exist_ok=True)
        if (output_dir / "manifest.json").exists():
            raise SiTokError(f"{output_dir}: holds tokens but no {PLAN}: delete it, or choose another output directory")
        _write(path, json.dumps(plan, indent=2) + "\n")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = {}
    changed = [key for key in sorted({*plan, *found}) if plan.get(key) != found.get(key)]
    if changed:
        details = ", ".join(f"{key} was {found.get(key)!r}, is {plan.get(key)!r}" for key in changed)
        raise SiTokError(
            f"{output_dir}: was begun with another plan ({details}): delete the directory to dump anew, or choose "
            f"another output directory"
        )


def _encode_shard(
    tokenizer: SiTok, part: Sequence[AudioInput], shards: Path, number: int, options: DumpOptions
) -> None:
    wavs = [load_at_rate(item, tokenizer.sample_rate, options.resample) for item in part]
    codes = tokenizer.encode(wavs, tokenizer.sample_rate, options.batch_seconds)
    sizes = tokenizer.codebook_sizes
    rows, records, position = [], [], 0
    for item, wav, code in zip(part, wavs, codes, strict=True):
        record, start = ark_record(item.utt, flatten_codes(code, sizes))
        rows.append([item.utt, position + start, len(code), len(wav)])
        records.append(record)
        position += len(record)
    content = {"bytes": position, "utterances": rows}
    if number == 0 and tokenizer.dtype != torch.float32:
        content["miss"] = _compare_with_float32(tokenizer, wavs[:COMPARED_UTTERANCES], codes, options)
    _write(_shard_file(shards, number, "ark"), b"".join(records))
    _write(_shard_file(shards, number, "json"), json.dumps(content))


def _compare_with_float32(tokenizer: SiTok, wavs: list, codes: list, options: DumpOptions) -> dict[str, int]:
    exact = copy.copy(tokenizer)
    exact.dtype = torch.float32
    expected = exact.encode(wavs, tokenizer.sample_rate, options.batch_seconds)
    pairs = list(zip(codes, expected, strict=False))
    return {"codes": sum(e.size for _, e in pairs), "differing": int(sum(np.sum(c != e) for c, e in pairs))}


def finish(tokenizer: SiTok, output_dir: Path, plan: dict, number_of_shards: int) -> bool:
    """Join the shards if all are there; False if some are still missing."""
    try:
        parts = [_read_shard(output_dir / SHARDS, number) for number in range(number_of_shards)]
        if any(part is None for part in parts):
            return (output_dir / "manifest.json").is_file()
        _join(tokenizer, output_dir, plan, parts)
    except FileNotFoundError:
        # Another job joined and removed the shards between two of our steps.
        if not (output_dir / "manifest.json").is_file():
            raise
    shutil.rmtree(output_dir / SHARDS, ignore_errors=True)
    return True


def _read_shard(shards: Path, number: int) -> dict | None:
    path = _shard_file(shards, number, "json")
    if not path.is_file():
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def _join(tokenizer: SiTok, output_dir: Path, plan: dict, parts: Sequence[dict]) -> None:
    ark = output_dir / "tokens.ark"
    rows, base = [], 0
    temporary = _temporary(ark)
    try:
        with open(temporary, "wb") as out:
            for number, part in enumerate(parts):
                data = _shard_file(output_dir / SHARDS, number, "ark").read_bytes()
                if len(data) != part["bytes"]:
                    raise SiTokError(f"{output_dir / SHARDS}: shard {number} is damaged: delete {SHARDS} and run again")
                out.write(data)
                rows += [(utt, base + offset, tokens, samples) for utt, offset, tokens, samples in part["utterances"]]
                base += part["bytes"]
        os.replace(temporary, ark)
    finally:
        temporary.unlink(missing_ok=True)
    for name, lines in set_files(ark, rows, tokenizer.codebook_sizes).items():
        _write_lines(output_dir / name, lines)
    manifest = make_manifest(tokenizer, plan["dtype"]) | {
        "num_utterances": len(rows),
        "num_tokens": sum(tokens for _, _, tokens, _ in rows),
        "num_samples": sum(samples for _, _, _, samples in rows),
    }
    if miss := parts[0].get("miss"):
        manifest["compared_with_float32"] = miss
        manifest["token_miss_rate"] = miss["differing"] / miss["codes"]
    _write(output_dir / "manifest.json", json.dumps(manifest, indent=2) + "\n")


def _shard_file(shards: Path, number: int, suffix: str) -> Path:
    return shards / f"{number:06d}.{suffix}"


def _temporary(path: Path) -> Path:
    """In the shards' folder, which goes in the end: what a killed process leaves goes with it."""
    folder = path.parent if path.parent.name == SHARDS else path.parent / SHARDS
    return folder / f"{path.name}.{os.getpid()}.tmp"


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    _write(path, "".join(f"{line}\n" for line in lines))


def _write(path: Path, content: str | bytes) -> None:
    """Whole or not at all."""
    temporary = _temporary(path)
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
