"""`sitok decode`."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sitok_espnet.audio import write_audio
from sitok_espnet.bin.open_model import open_model
from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import DECODE_BATCH_SECONDS, SiTok
from sitok_espnet.tokens import TokenSet, open_tokens


def run(args: argparse.Namespace) -> None:
    sets = {path: open_tokens(path) for path in args.tokens}
    tokenizer = open_model(args)
    for path, tokens in sets.items():
        check_model(tokenizer, tokens, path)
    # Everything is read and checked before the first file is written; tokens are small.
    items = [
        (utt, codes, entry.num_samples) for s in sets.values() for (utt, codes), entry in zip(s, s.entries, strict=True)
    ]
    names = [utt for utt, _, _ in items]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SiTokError(f"utterance {twice} occurs in more than one of the token sets: decode them separately")
    decode_to_files(tokenizer, items, Path(args.output), args)
    print(f"{args.output}: {len(items)} files")


def check_model(tokenizer: SiTok, tokens: TokenSet, path: str) -> None:
    """Tokens mean something only to models with the encoder and quantizer that made them."""
    if tokens.manifest["codes_hash"] != tokenizer.codes_hash:
        raise SiTokError(
            f"{path}: these tokens were made by model {tokens.manifest['codes_hash']} (codes_hash), not by "
            f"the one in {tokenizer.directory} ({tokenizer.codes_hash}): give the --model that made them, or "
            "encode again"
        )


def decode_to_files(
    tokenizer: SiTok, items: Sequence[tuple[str, np.ndarray, int]], output: Path, args: argparse.Namespace
) -> None:
    """(utt, codes, num_samples) to output/<utt>.wav, a batch in memory at a time."""
    options = {name: getattr(args, name) for name in ("steps", "cfg_scale", "temperature", "seed", "chunk_seconds")}
    with tqdm(total=len(items), unit="utt", desc="decode") as bar:
        for part in _portions(items, DECODE_BATCH_SECONDS * float(tokenizer.frame_rate)):
            wavs = tokenizer.decode([c for _, c, _ in part], num_samples=[n for _, _, n in part], **options)
            for (utt, _, _), wav in zip(part, wavs, strict=True):
                write_audio(output / f"{utt}.wav", wav, tokenizer.sample_rate)
                bar.update()


def _portions(items: Sequence[tuple], budget: float) -> Iterator[list[tuple]]:
    part, tokens = [], 0
    for item in items:
        if part and tokens + len(item[1]) > budget:
            yield part
            part, tokens = [], 0
        part.append(item)
        tokens += len(item[1])
    if part:
        yield part
