"""`sitok resynth`."""

import argparse
from pathlib import Path

from tqdm import tqdm

from sitok_espnet.bin.decode import decode_to_files
from sitok_espnet.bin.open_model import open_model
from sitok_espnet.errors import SiTokError
from sitok_espnet.inputs import collect_inputs, load_at_rate

ENCODED_TOGETHER = 64  # utterances in memory


def run(args: argparse.Namespace) -> None:
    inputs = collect_inputs(args.inputs)
    output = Path(args.output).resolve()
    for item in inputs:
        if Path(item.location).resolve() == output / f"{item.utt}.wav":
            raise SiTokError(f"{item.location} would be overwritten by its resynthesis: choose another -o directory")
    tokenizer = open_model(args)
    items = []
    # All audio is read, and so checked, before the first file is written.
    with tqdm(total=len(inputs), unit="utt", desc="encode") as bar:
        for start in range(0, len(inputs), ENCODED_TOGETHER):
            part = inputs[start : start + ENCODED_TOGETHER]
            wavs = [load_at_rate(item, tokenizer.sample_rate, args.resample) for item in part]
            codes = tokenizer.analyze(wavs, tokenizer.sample_rate, args.batch_seconds)
            items += [(item.utt, code, len(wav)) for item, code, wav in zip(part, codes, wavs, strict=True)]
            bar.update(len(part))
    decode_to_files(tokenizer, items, Path(args.output), args)
    print(f"{args.output}: {len(items)} files")
