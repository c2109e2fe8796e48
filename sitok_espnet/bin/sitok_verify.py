"""Check on real speech that tokens do not depend on batching, order or padding (DESIGN section 6, promise 1)."""

import argparse
import dataclasses
import json
import sys

from sitok_espnet.errors import SiTokError


def main(cmd=None) -> int:
    """Entry point: exit status 0 if the promise holds, 1 if not, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="experiment or packed directory")
    parser.add_argument("--wav_scp", required=True, nargs="+", help="24 kHz speech")
    parser.add_argument("--batch_size", type=int, default=16)
    args = parser.parse_args(cmd)

    from sitok_espnet.evaluate.invariance import verify_tokens
    from sitok_espnet.inference import SiTok
    from sitok_espnet.inputs import load_at_rate, read_scp

    try:
        tokenizer = SiTok.from_pretrained(args.model)
        items = [item for scp in args.wav_scp for item in read_scp(scp)]
        wavs = [load_at_rate(item, tokenizer.sample_rate) for item in items]
        report = verify_tokens(tokenizer, wavs, args.batch_size)
    except SiTokError as error:
        print(f"sitok_verify: error: {error}", file=sys.stderr)
        return 2
    distinct = report.tokens // 3
    print(json.dumps({**dataclasses.asdict(report), "distinct_tokens": distinct, "holds": report.holds}))
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
