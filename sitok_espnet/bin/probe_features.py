"""Features of a frozen tokenizer for probes (stage 4): mel, and the encoder's output before and after quantization."""

import argparse
import sys

from sitok_espnet.errors import SiTokError


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="experiment, packed model, or name of one of the package")
    parser.add_argument("--checkpoint", help="file in the directory (default: packed or best)")
    parser.add_argument("--wav_scp", required=True, help="utterances, at the model's sampling rate")
    parser.add_argument(
        "--output_dir", help="dump/feats: gets mel/, quantized/ and continuous/; without it only --token_dump counts"
    )
    parser.add_argument("--token_dump", help="finished token dump of the same utterances, which gets a card, too")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--num_jobs", type=int, default=1, help="processes that share the work")
    parser.add_argument("--job", type=int, default=1, help="number of this process, from 1")
    return parser


def main(argv=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(argv)
    from pathlib import Path

    from sitok_espnet.inference import SiTok
    from sitok_espnet.inputs import read_scp
    from sitok_espnet.probes.features import FeatureOptions, dump_frames, write_token_card

    try:
        if args.token_dump:
            write_token_card(Path(args.token_dump))
        if args.output_dir is None:
            return 0
        options = FeatureOptions(num_jobs=args.num_jobs, job=args.job)
        tokenizer = SiTok.from_pretrained(args.model, args.checkpoint, args.device)
        complete = dump_frames(tokenizer, read_scp(args.wav_scp), Path(args.output_dir), options)
    except (SiTokError, OSError) as error:
        print(f"probe_features: error: {error}", file=sys.stderr)
        return 2
    print(f"{args.output_dir}: " + ("complete" if complete else f"job {args.job} is done, others are not"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
