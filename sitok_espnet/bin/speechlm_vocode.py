"""Generated tokens, those of the recordings and those of the prompts to audio (stage 7 of sitok_tts1)."""

import argparse
import sys
from pathlib import Path

from sitok_espnet.bin.command import run_command


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", required=True, help="experiment or packed directory, or its name")
    parser.add_argument("--checkpoint", help="file name in it (default: the packed or best one)")
    parser.add_argument("--data_dir", type=Path, required=True, help="test set with prompts (stage 2)")
    parser.add_argument("--generated", type=Path, required=True, help="what speechlm_generate wrote (stage 6)")
    parser.add_argument("--output_dir", type=Path, required=True, help="gets a folder a row")
    parser.add_argument("--steps", type=int, help="solver steps of the decoder (default: the model's own)")
    parser.add_argument("--cfg_scale", type=float, default=0.0, help="token guidance (default: %(default)s)")
    parser.add_argument(
        "--temperature", type=float, help="scale of the decoder's initial noise (default: the model's own)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the decoder's noise (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--vocoder", help="griffin_lim, or vocos (default: the packed one, or griffin_lim)")
    parser.add_argument(
        "--vocoder_conf", action="append", default=[], metavar="KEY=VALUE", help="its option; repeatable"
    )
    return parser


def main(cmd=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(cmd)
    return run_command("speechlm_vocode", lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Open the tokenizer and write the rows."""
    from sitok_espnet.bin.open_model import parse_conf
    from sitok_espnet.evaluate.files import read_transcripts
    from sitok_espnet.inference import SiTok
    from sitok_espnet.speechlm.vocode_set import Decoding, read_rows, vocode_set

    tokenizer = SiTok.from_pretrained(
        args.tokenizer, args.checkpoint, args.device, vocoder=args.vocoder, vocoder_conf=parse_conf(args.vocoder_conf)
    )
    rows = read_rows(args.data_dir, args.generated, tokenizer.codes_hash)
    samples = {utt: int(count) for utt, count in read_transcripts(args.data_dir / "utt2num_samples").items()}
    decoding = Decoding(args.steps, args.cfg_scale, args.seed, args.temperature)
    vocode_set(tokenizer, rows, args.output_dir, decoding, samples)


if __name__ == "__main__":
    sys.exit(main())
