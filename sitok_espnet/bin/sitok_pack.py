"""Pack a trained experiment into a folder that ``SiTok.from_pretrained`` opens (stage 9)."""

import argparse
import sys

from sitok_espnet.checkpoint import pack
from sitok_espnet.errors import SiTokError


def main(cmd=None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="experiment directory (stage 5)")
    parser.add_argument("--checkpoint", default=None, help="file name in it; default: best by its first criterion")
    parser.add_argument("--vocoder", default=None, help="vocoder training (stage 6) to pack with it, its default then")
    parser.add_argument(
        "--half", action="store_true", help="float16 weights, the vocoder's too: half the size, rounded"
    )
    parser.add_argument(
        "--steps", type=int, default=None, help="solver steps that inference takes by default (else 16)"
    )
    parser.add_argument("--temperature", type=float, default=None, help="scale of the initial noise, likewise (else 1)")
    parser.add_argument("--output_dir", required=True)
    args = parser.parse_args(cmd)
    try:
        packed = pack(
            args.model, args.output_dir, args.checkpoint, args.vocoder, args.half, args.steps, args.temperature
        )
        print(f"packed into {packed}")
    except SiTokError as error:
        print(f"sitok_pack: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
