#!/usr/bin/env python3
"""Train text pieces for the CTC branch and say how many utterances they fit at each token rate.

Writes bpe.model, tokens.txt (`<blank> <unk> pieces ... <sos/eos>`: --nbpe lines, as ESPnet's recipes have) and
ctc_fit.json. CTC needs at least labels + repeats frames (a blank must stand between two equal labels); an utterance
with fewer cannot be aligned and is masked in training.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import sentencepiece
from recipe_files import atomic_text, read_table

from sitok_espnet.errors import SiTokError

SAMPLE_RATE = 24000
MEL_HOP = 480
STACKING_FACTORS = (8, 4, 2, 1)  # 6.25, 12.5, 25 and 50 Hz


def frames_needed(labels: Sequence[int]) -> int:
    """Frames that CTC needs for a label sequence: one a label, and a blank between two equal neighbours."""
    return len(labels) + sum(a == b for a, b in zip(labels, labels[1:], strict=False))


def ctc_fit(labels: Mapping[str, Sequence[int]], num_samples: Mapping[str, int]) -> dict[str, float]:
    """Share of utterances with ceil(S / (480 k)) >= frames_needed, by token rate in Hz.

    labels: utterance -> piece ids (empty ones do not count); num_samples: utterance -> S at 24 kHz.
    """
    spoken = {u: frames_needed(ids) for u, ids in labels.items() if ids}
    if not spoken:
        raise SiTokError("no utterance has a transcript")
    shares = {}
    for k in STACKING_FACTORS:
        rate = Fraction(SAMPLE_RATE, MEL_HOP * k)
        fits = sum(-(-num_samples[u] // (MEL_HOP * k)) >= needed for u, needed in spoken.items())
        shares[f"{float(rate):g}"] = fits / len(spoken)
    return shares


def train(sentences: Sequence[str], nbpe: int, model_type: str, out: Path) -> None:
    """Train a model of nbpe - 2 entries (its <unk> and nbpe - 3 pieces) and write it to `out`."""
    if not sentences:
        raise SiTokError("no utterance of the training set has a transcript: text pieces need one")
    if nbpe < 4:
        raise SiTokError(f"--nbpe {nbpe} leaves no piece beside <blank>, <unk> and <sos/eos>")
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(sentences),
                model_prefix=f"{scratch}/bpe",
                vocab_size=nbpe - 2,
                model_type=model_type,
                character_coverage=1.0,
                bos_id=-1,
                eos_id=-1,
                unk_id=0,
                num_threads=1,  # the result must not depend on the machine
                minloglevel=2,
            )
        except RuntimeError as error:
            # Its own words: "Vocabulary size too high (500). Please set it to a value <= 412."
            limit = re.search(r"<=\s*(\d+)", str(error))
            if limit and "too high" in str(error):
                raise SiTokError(
                    f"--nbpe {nbpe} is more than {len(sentences)} transcripts can fill: use at most {int(limit[1]) + 2}"
                ) from error
            characters = len(set("".join(sentences).replace(" ", ""))) + 1
            if nbpe < characters + 3:
                raise SiTokError(
                    f"--nbpe {nbpe} is too small: the text has {characters} characters, use at least {characters + 3}"
                ) from error
            raise SiTokError(f"SentencePiece could not train {nbpe} pieces: {error}") from error
        Path(scratch, "bpe.model").replace(out)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="formatted set with text and utt2num_samples")
    parser.add_argument("--out_dir", type=Path, required=True)
    parser.add_argument("--nbpe", type=int, default=4000, help="lines of tokens.txt, the three special ones included")
    parser.add_argument("--model_type", choices=("unigram", "bpe", "char"), default="unigram")
    args = parser.parse_args(argv)
    try:
        text = read_table(args.data_dir / "text", allow_empty_value=True)
        num_samples = {u: int(n) for u, n in read_table(args.data_dir / "utt2num_samples").items()}
        args.out_dir.mkdir(parents=True, exist_ok=True)
        model = args.out_dir / "bpe.model"
        (args.out_dir / "tokens.txt").unlink(missing_ok=True)  # the last file written, the sign of a finished run
        train([sentence for sentence in text.values() if sentence], args.nbpe, args.model_type, model)
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
        fit = ctc_fit({u: pieces.encode(sentence) for u, sentence in text.items()}, num_samples)
    except SiTokError as error:
        sys.exit(f"error: {error}")
    with atomic_text(args.out_dir / "ctc_fit.json") as out:
        json.dump({"nbpe": args.nbpe, "share_of_utterances_by_token_rate_hz": fit}, out, indent=2)
        out.write("\n")
    with atomic_text(args.out_dir / "tokens.txt") as out:
        ordinary = [pieces.id_to_piece(i) for i in range(1, pieces.get_piece_size())]
        out.write("\n".join(["<blank>", "<unk>", *ordinary, "<sos/eos>"]) + "\n")
    print(f"{args.nbpe} pieces; utterances whose transcript fits the tokens (frames >= labels + repeats):")
    for rate, share in fit.items():
        print(f"  {rate:>5} Hz: {100 * share:6.2f} %")


if __name__ == "__main__":
    main()
