"""What a frozen tokenizer makes of a corpus, for probes: mel, and the encoder's output, quantized or not (stage 4).

All are at the token rate: the mel is the normalised log-mel that the encoder reads, k frames stacked to one of k M
numbers, so that all inputs of a probe have the same frames and none has finer time resolution. The tokens are an
ordinary token dump (sitok_espnet/dump.py).

As there, the list is cut into fixed shards that are redone whole; the card is written last.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from sitok_espnet.computing import exact_inference, make_batches
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, write_json, write_text
from sitok_espnet.inference import SiTok
from sitok_espnet.inputs import AudioInput, load_at_rate
from sitok_espnet.probes.card import CARD, CONTINUOUS, MEL, QUANTIZED, TOKENS, InputCard
from sitok_espnet.probes.store import INDEX
from sitok_espnet.tokens import open_tokens

PLAN = "plan.json"


@dataclass(frozen=True)
class FeatureOptions:
    """shard_size: utterances a shard. batch_seconds: bound of a batch. num_jobs, job: as in the token dump."""

    shard_size: int = 256
    batch_seconds: float = 120.0
    num_jobs: int = 1
    job: int = 1

    def __post_init__(self) -> None:
        if self.shard_size < 1 or not self.batch_seconds > 0 or not 1 <= self.job <= self.num_jobs:
            raise SiTokError(f"shard_size and batch_seconds must be positive, 1 <= job <= num_jobs; got {self}")


def frame_inputs(tokenizer: SiTok) -> tuple[str, ...]:
    """What `dump_frames` writes for this model; without codes there is nothing quantized."""
    return (MEL, QUANTIZED, CONTINUOUS) if tokenizer.codebook_sizes else (MEL, CONTINUOUS)


def frames_of(tokenizer: SiTok, wavs: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """A batch of waveforms at the model's rate -> of each, float32: mel (T, k M), quantized and continuous (T, D)."""
    model = tokenizer.model
    lengths = torch.tensor([len(wav) for wav in wavs])
    padded = np.zeros((len(wavs), int(lengths.max())), dtype=np.float32)
    for row, wav in enumerate(wavs):
        padded[row, : len(wav)] = wav
    with exact_inference():
        stacked, _, tokens = model.mel(torch.from_numpy(padded).to(tokenizer.device), lengths.to(tokenizer.device))
        latents = model.encoder(stacked)
        found = {MEL: stacked, CONTINUOUS: latents}
        if tokenizer.codebook_sizes:
            found[QUANTIZED] = model.quantizer.decode_codes(model.quantizer.encode(latents))
        arrays = {name: values.float().cpu().numpy() for name, values in found.items()}
    return [{name: values[row, :count] for name, values in arrays.items()} for row, count in enumerate(tokens.tolist())]


def dump_frames(
    tokenizer: SiTok, inputs: Sequence[AudioInput], output_dir: Path, options: FeatureOptions | None = None
) -> bool:
    """``output_dir/{mel,quantized,continuous}`` as float16; resumes, and returns whether all jobs' shards are there.

    Raises:
        SiTokError: features of another model or list are there, bad audio, values beyond float16.
    """
    options = options or FeatureOptions()
    output_dir = Path(output_dir)
    plan = {
        "model_hash": tokenizer.model_hash,
        "utterances": [[item.utt, item.location] for item in inputs],
        "shard_size": options.shard_size,
        "batch_seconds": options.batch_seconds,
    }
    folders = [output_dir / name for name in frame_inputs(tokenizer)]
    for folder in folders:
        _check_plan(folder, plan)
    shards = [inputs[i : i + options.shard_size] for i in range(0, len(inputs), options.shard_size)]
    mine = range(options.job - 1, len(shards), options.num_jobs)
    for number in tqdm([n for n in mine if not _is_done(folders, n)], desc="features", unit="shard"):
        _write_shard(tokenizer, shards[number], output_dir, number, options.batch_seconds)
    if not all(_is_done(folders, number) for number in range(len(shards))):
        return False
    for folder in folders:
        _finish(tokenizer, folder, len(shards))
    return True


def _check_plan(folder: Path, plan: dict) -> None:
    path = folder / PLAN
    if path.is_file() and read_json(path) == json.loads(json.dumps(plan)):
        return
    if path.is_file():
        raise SiTokError(
            f"{folder} holds features of another model, list or cut: remove it to make them again, or keep both with "
            "another --dumpdir and --expdir"
        )
    write_json(path, plan)


def _shard(folder: Path, number: int, suffix: str) -> Path:
    return folder / f"{number:06d}.{suffix}"


def _is_done(folders: Sequence[Path], number: int) -> bool:
    return all(_shard(folder, number, "json").is_file() for folder in folders)


def _write_shard(
    tokenizer: SiTok, items: Sequence[AudioInput], output_dir: Path, number: int, batch_seconds: float
) -> None:
    wavs = [load_at_rate(item, tokenizer.sample_rate) for item in items]
    frames: list[dict[str, np.ndarray]] = [{} for _ in wavs]
    for batch in make_batches([len(wav) for wav in wavs], batch_seconds * tokenizer.sample_rate):
        for index, found in zip(batch, frames_of(tokenizer, [wavs[i] for i in batch]), strict=True):
            frames[index] = found
    for name in frame_inputs(tokenizer):
        with np.errstate(over="ignore"):  # found below, with the utterance's name
            half = [found[name].astype(np.float16) for found in frames]
        for item, values in zip(items, half, strict=True):
            if not np.isfinite(values).all():
                raise SiTokError(f"utterance {item.utt}: {name} has values beyond float16: is the model damaged?")
        path = _shard(output_dir / name, number, "npy")
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with open(temporary, "wb") as file:
            np.save(file, np.concatenate(half))
        temporary.replace(path)
        write_json(
            _shard(output_dir / name, number, "json"), [[i.utt, len(v)] for i, v in zip(items, half, strict=True)]
        )


def _finish(tokenizer: SiTok, folder: Path, num_shards: int) -> None:
    if (folder / CARD).is_file():
        return
    lines = []
    for number in range(num_shards):
        first = 0
        for utterance, count in read_json(_shard(folder, number, "json")):
            lines.append(f"{utterance} {_shard(folder, number, 'npy').name} {first} {count}\n")
            first += count
    write_text(folder / INDEX, "".join(lines))
    model = tokenizer.model
    width = model.encoder.output_size()
    if folder.name == MEL:
        width = model.feats_extract.output_size() * tokenizer.stacking_factor
    rate, hashes = str(tokenizer.frame_rate), (tokenizer.model_hash, tokenizer.codes_hash)
    InputCard(folder.name, width, rate, *hashes, len(lines)).write(folder)


def write_token_card(folder: Path) -> None:
    """The card of a finished token dump, from its manifest."""
    manifest = open_tokens(folder).manifest
    card = InputCard(
        TOKENS,
        manifest["num_codebooks"],
        manifest["frame_rate"],
        manifest["model_hash"],
        manifest["codes_hash"],
        manifest["num_utterances"],
        tuple(manifest["codebook_sizes"]),
    )
    if not (folder / CARD).is_file() or InputCard.read(folder) != card:
        card.write(folder)
