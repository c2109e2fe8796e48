"""Write the joint vocabulary of text pieces and tokens, with the pieces and the codebooks beside it (stage 3)."""

import argparse
import shutil
import sys
from pathlib import Path

from sitok_espnet.errors import SiTokError

VOCABULARY, PIECES = "vocabulary.json", "bpe.model"
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.gguf")


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", nargs="+", required=True, help="token dumps, all of one tokenizer")
    parser.add_argument("--tokenizer", required=True, help="its experiment or packed directory, or its name")
    parser.add_argument("--checkpoint", help="weights in the tokenizer's directory (default: the best ones)")
    parser.add_argument(
        "--text_tokenizer",
        help="a SentencePiece model, or the folder of a text LM (default: the text pieces of the tokenizer)",
    )
    parser.add_argument(
        "--output_dir", required=True, type=Path, help="gets vocabulary.json, the pieces and the codebook vectors"
    )
    return parser


def main(cmd=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(cmd)
    try:
        run(args)
    except SiTokError as error:
        print(f"speechlm_vocabulary: error: {error}", file=sys.stderr)
        return 2
    return 0


def run(args: argparse.Namespace) -> None:
    """Check the dumps against each other, copy the pieces, write the vocabulary last."""
    from sitok_espnet.inference import SiTok
    from sitok_espnet.speechlm.code_vectors import FILE, write_code_vectors
    from sitok_espnet.speechlm.text import lm_text_size, load_text_tokenizer
    from sitok_espnet.speechlm.vocabulary import JointVocabulary
    from sitok_espnet.tokens import open_tokens

    source = Path(args.text_tokenizer) if args.text_tokenizer else pieces_of(args.tokenizer)
    pieces = load_text_tokenizer(source, lm_text_size(source))
    manifests = {path: open_tokens(path).manifest for path in args.tokens}
    first = next(iter(manifests.values()))
    vocabulary = JointVocabulary(
        text_size=pieces.size,
        text_hash=pieces.hash,
        codebook_sizes=tuple(first["codebook_sizes"]),
        codes_hash=first["codes_hash"],
        frame_rate=first["frame_rate"],
    )
    for path, manifest in manifests.items():
        vocabulary.check_manifest(manifest, path)
    tokenizer = SiTok.from_pretrained(args.tokenizer, checkpoint=args.checkpoint)
    if tokenizer.codes_hash != vocabulary.codes_hash:
        raise SiTokError(
            f"{args.tokens[0]} holds tokens of another model ({vocabulary.codes_hash}) than {args.tokenizer} "
            f"({tokenizer.codes_hash}): run stages 1 and 2 again, or give the model that they were made with"
        )
    (args.output_dir / VOCABULARY).unlink(missing_ok=True)
    copy_pieces(source, args.output_dir / PIECES)
    write_code_vectors(args.output_dir / FILE, tokenizer)
    vocabulary.write(args.output_dir / VOCABULARY)
    print(
        f"{args.output_dir / VOCABULARY}: {len(vocabulary)} identifiers: {vocabulary.text_size} text pieces of "
        f"{source}, {' + '.join(map(str, vocabulary.codebook_sizes))} codes"
    )


def pieces_of(tokenizer: str) -> Path:
    """The SentencePiece model that a tokenizer was trained with.

    Raises:
        SiTokError: it was trained without transcripts.
    """
    from sitok_espnet.checkpoint import find_file, read_config
    from sitok_espnet.pretrained import locate

    folder = locate(tokenizer)
    found = find_file(folder, read_config(folder).get("bpemodel"), "bpemodel")
    if found is None:
        raise SiTokError(f"{folder} was trained without text pieces: give some, --text_tokenizer bpe.model")
    return found


def copy_pieces(source: Path, target: Path) -> None:
    """A file, or a folder without the weights in it; moved into place whole."""
    temporary = target.with_name(target.name + ".tmp")
    for old in (temporary, target):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(*WEIGHTS))
    else:
        shutil.copyfile(source, temporary)
    temporary.rename(target)


if __name__ == "__main__":
    sys.exit(main())
