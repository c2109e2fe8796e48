"""`sitok encode`."""

import argparse
import os
import tempfile
from pathlib import Path

from sitok_espnet.bin.open_model import open_model
from sitok_espnet.bin.sitok_dump import report
from sitok_espnet.dump import DumpOptions, dump_tokens
from sitok_espnet.errors import SiTokError
from sitok_espnet.inputs import AudioInput, collect_inputs
from sitok_espnet.tokens import open_tokens


def run(args: argparse.Namespace) -> None:
    inputs = collect_inputs(args.inputs)
    output = Path(args.output)
    if output.suffix == ".ark":
        if output.is_dir():
            raise SiTokError(f"-o {output}: is a directory; a token file needs another name")
    elif output.is_file():
        raise SiTokError(f"-o {output}: is a file; name a directory, or a token file that ends in .ark")
    options = DumpOptions(batch_seconds=args.batch_seconds, resample=args.resample)
    tokenizer = open_model(args)
    if output.suffix == ".ark":
        write_token_file(tokenizer, inputs, output, options)
    else:
        dump_tokens(tokenizer, inputs, output, options)
    report(str(output))


def write_token_file(tokenizer, inputs: list[AudioInput], output: Path, options: DumpOptions) -> None:
    """A dump made aside, of which the archive, its scp, lengths and manifest are kept; nothing stays on an error."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.stem}.", dir=output.parent) as folder:
        made = Path(folder)
        dump_tokens(tokenizer, inputs, made, options)
        entries = open_tokens(made).entries
        lines = "".join(f"{entry.utt} {output}:{entry.offset}\n" for entry in entries)
        (made / "wav.scp").write_text(lines, encoding="utf-8")
        # The manifest goes first and comes last: an old one must not describe new tokens.
        output.with_suffix(".manifest.json").unlink(missing_ok=True)
        for name, suffix in (
            ("tokens.ark", ".ark"),
            ("wav.scp", ".scp"),
            ("utt2num_samples", ".utt2num_samples"),
            ("manifest.json", ".manifest.json"),
        ):
            os.replace(made / name, output.with_suffix(suffix))
