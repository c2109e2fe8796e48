"""Speak a whole test set: batches in files of their own, resumable, then a token set with what became of each (ours).

The directory gets the files of a token dump (sitok_espnet/tokens.py) for all utterances that are not empty,
``utt2status`` (ended, run-away or empty) and ``generation.json``: settings, seconds and the machine.
"""

import hashlib
import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from sitok_espnet import __version__
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, read_transcripts, write_json, write_table, write_text
from sitok_espnet.evaluate.provenance import describe_machine
from sitok_espnet.speechlm.checkpoint import LoadedSpeechLM
from sitok_espnet.speechlm.generation import generate
from sitok_espnet.speechlm.requests import VoicePrompt, make_request, utterance_seed
from sitok_espnet.speechlm.sampling import TokenSampling
from sitok_espnet.tokens import ark_record, flatten_codes, open_tokens, read_places, set_files

SETTINGS, REPORT, STATUS, BATCHES = "settings.json", "generation.json", "utt2status", ".batches"
PROMPT_CODES = "prompt_codes.scp"
TOKEN_FILES = ("manifest.json", "tokens.ark", *set_files(Path(), (), ()))


@dataclass(frozen=True)
class SpokenText:
    """Attributes: utt: identifier. text: what to say. prompt: whose voice, and what was said before."""

    utt: str
    text: str
    prompt: VoicePrompt


def read_texts(data_dir: Path, codes_hash: str) -> list[SpokenText]:
    """The utterances of a test set with prompts (stage 2), by identifier; ``codes_hash``: of the tokenizer.

    Raises:
        SiTokError: a file of it is missing, the files are not of one set, or the tokens are of another tokenizer.
    """
    if not (data_dir / PROMPT_CODES).is_file():
        raise SiTokError(f"{data_dir} has no {PROMPT_CODES}: it is no test set with prompts (stage 2 makes one)")
    texts = read_transcripts(data_dir / "text")
    said = read_transcripts(data_dir / "prompt_text")
    codes = read_places(data_dir / PROMPT_CODES, codes_hash)
    if not texts.keys() == said.keys() == codes.keys():
        raise SiTokError(f"{data_dir}: text, prompt_text and {PROMPT_CODES} have different utterances: run stage 2")
    return [SpokenText(utt, texts[utt], VoicePrompt(codes[utt], said[utt])) for utt in sorted(texts)]


def generate_set(
    loaded: LoadedSpeechLM,
    texts: Sequence[SpokenText],
    tokens: Path,
    output: Path,
    sampling: TokenSampling,
    seed: int = 0,
    batch_size: int = 8,
) -> dict[str, int]:
    """Generate what is not there yet; a directory made with other settings is made again.

    Args:
        loaded: the language model.
        texts: what to say.
        tokens: a dump of the tokenizer whose tokens these are; it gives the manifest.
        output: directory to fill.
        sampling: of the tokens.
        seed: of all utterances, see `utterance_seed`.
        batch_size: utterances at once; a batch is of similar lengths.

    Returns:
        How many utterances have each status.

    Raises:
        SiTokError: tokens of another tokenizer, or a text that the model cannot read.
    """
    if batch_size < 1:
        raise SiTokError(f"batch_size must be at least 1, got {batch_size}")
    manifest = open_tokens(tokens).manifest
    vocabulary = loaded.model.vocabulary
    vocabulary.check_manifest(manifest, str(tokens))
    # Everything is read and checked before the first batch is spoken.
    requests = {item.utt: make_request(loaded, item.text, item.prompt) for item in texts}
    settings = {
        "language_model": loaded.model_hash,
        "codes_hash": vocabulary.codes_hash,
        "texts": _hash(texts),
        "sampling": asdict(sampling),
        "seed": seed,
        "batch_size": batch_size,
        "device": str(next(loaded.model.parameters()).device),
    }
    _claim(output, settings)
    if not (output / REPORT).is_file():
        order = sorted(requests, key=lambda utt: (len(requests[utt].pieces) + len(requests[utt].prompt), utt))
        parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        with tqdm(total=len(order), desc="generation", unit="utt", mininterval=1.0) as progress:
            for number, part in enumerate(parts):
                if not _batch_file(output, number).is_file():
                    seeds = [utterance_seed(seed, utt) for utt in part]
                    began = time.perf_counter()
                    results = generate(loaded.model, [requests[utt] for utt in part], sampling, seeds)
                    seconds = time.perf_counter() - began
                    made = {
                        utt: {"codes": result.codes.tolist(), "status": result.status, "seconds": seconds / len(part)}
                        for utt, result in zip(part, results, strict=True)
                    }
                    write_text(_batch_file(output, number), json.dumps(made))
                progress.update(len(part))
        _join(output, len(parts), manifest, settings)
    return dict(Counter(item["status"] for item in read_json(output / REPORT)["utterances"].values()))


def _hash(texts: Sequence[SpokenText]) -> str:
    digest = hashlib.sha256()
    for item in texts:
        digest.update(f"{item.utt}\n{item.text}\n{item.prompt.text}\n".encode() + item.prompt.codes.tobytes())
    return digest.hexdigest()[:16]


def _claim(output: Path, settings: dict) -> None:
    """An empty directory with these settings, or one that was begun with them; only its own files are ever removed."""
    found = read_json(output / SETTINGS) if (output / SETTINGS).is_file() else {}
    if found == settings:
        return
    # Folders of audio have a settings.json as well.
    if output.is_dir() and any(output.iterdir()) and found.keys() != settings.keys():
        raise SiTokError(f"{output} holds something else than generated tokens: choose another directory, or remove it")
    if found:
        logging.warning("%s was made with other settings: it is made again", output)
    for name in (REPORT, *TOKEN_FILES, STATUS):
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / BATCHES, ignore_errors=True)
    write_json(output / SETTINGS, settings)


def _batch_file(output: Path, number: int) -> Path:
    return output / BATCHES / f"{number:06d}.json"


def _join(output: Path, batches: int, manifest: dict, settings: dict) -> None:
    made = {}
    for number in range(batches):
        made |= read_json(_batch_file(output, number))
    sizes = manifest["codebook_sizes"]
    per_token = Fraction(manifest["sample_rate"]) / Fraction(manifest["frame_rate"])
    rows, records, position = [], [], 0
    for utt in sorted(made):
        codes = np.array(made[utt]["codes"], dtype=np.int64).reshape(-1, len(sizes))
        if not len(codes):
            continue  # a token set has no empty utterances; its status says it
        record, start = ark_record(utt, flatten_codes(codes, sizes))
        rows.append((utt, position + start, len(codes), int(len(codes) * per_token)))
        records.append(record)
        position += len(record)
    ark = output / "tokens.ark"
    ark.write_bytes(b"".join(records))
    for name, lines in set_files(ark, rows, sizes).items():
        write_text(output / name, "".join(f"{line}\n" for line in lines))
    content = {**manifest, "package_version": __version__, "language_model": settings["language_model"]}
    content |= {"num_utterances": len(rows), "num_tokens": sum(row[2] for row in rows)}
    content |= {"num_samples": sum(row[3] for row in rows)}
    write_json(output / "manifest.json", content)
    write_table(output / STATUS, {utt: item["status"] for utt, item in made.items()})
    report = {
        "settings": settings,
        "threads": torch.get_num_threads(),
        "machine": describe_machine(),
        # Seconds of an utterance are its equal share of its batch.
        "utterances": {
            utt: {"status": item["status"], "frames": len(item["codes"]), "seconds": item["seconds"]}
            for utt, item in sorted(made.items())
        },
    }
    write_json(output / REPORT, report)  # last: its presence means finished
    shutil.rmtree(output / BATCHES, ignore_errors=True)
