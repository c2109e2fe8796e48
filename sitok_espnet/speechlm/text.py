"""Text pieces for the language model: the recipe's SentencePiece model, or the tokenizer of a pretrained text LM."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.vocabulary import JointVocabulary

# Files that decide the pieces of a tokenizer of transformers, where they exist.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer_config.json")


@dataclass(frozen=True)
class TextTokenizer:
    """Attributes:
    size: number of pieces.
    hash: 16 hex digits of what decides them.
    encode: text -> identifiers.
    unknown: text -> its characters that no piece has.
    """

    size: int
    hash: str
    encode: Callable[[str], list[int]]
    unknown: Callable[[str], set[str]]

    def check(self, vocabulary: JointVocabulary, name: str) -> None:
        """SiTokError unless a joint vocabulary was made with it."""
        if (self.hash, self.size) != (vocabulary.text_hash, vocabulary.text_size):
            raise SiTokError(
                f"{name} is not the text tokenizer that the joint vocabulary was made with ({self.size} pieces, hash "
                f"{self.hash}; there {vocabulary.text_size}, {vocabulary.text_hash}): make that again (stage 3)"
            )


def load_text_tokenizer(path: str | Path, size: int | None = None) -> TextTokenizer:
    """A SentencePiece model (a file), or a folder with a tokenizer of transformers.

    Args:
        path: of either.
        size: number of pieces where the text LM has more rows than its tokenizer has pieces (a multiple of 64, say).

    Raises:
        SiTokError: neither.
    """
    path = Path(path)
    if path.is_file():
        import sentencepiece

        try:
            processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise SiTokError(f"{path} is not a SentencePiece model ({error})") from error
        return TextTokenizer(
            processor.get_piece_size(), _hash([path]), processor.encode, lambda text: _unknown(processor, text)
        )
    pieces_hash = tokenizer_hash(path)
    if pieces_hash is None:
        raise SiTokError(
            f"{path} is neither a SentencePiece model (stage 3 of sitok1 makes one) nor a folder with a tokenizer of "
            "transformers"
        )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    except (OSError, ValueError) as error:
        raise SiTokError(f"{path} holds no tokenizer that transformers can read ({error})") from error
    if size and len(tokenizer) > size:
        raise SiTokError(f"{path}: the tokenizer has {len(tokenizer)} pieces, its text LM only {size} rows for them")
    return TextTokenizer(
        size or len(tokenizer),
        pieces_hash,
        lambda text: tokenizer.encode(text, add_special_tokens=False),
        lambda text: set(),  # text models have bytes for everything
    )


def tokenizer_hash(path: str | Path) -> str | None:
    """16 hex digits of what decides the pieces of a tokenizer of transformers, None where the folder has none."""
    files = [Path(path) / name for name in TOKENIZER_FILES if (Path(path) / name).is_file()]
    return _hash(files) if files else None


def lm_text_size(path: str | Path) -> int | None:
    """Rows for text of the text LM in a folder, None where there is no such LM (a file, or a tokenizer alone)."""
    config = Path(path) / "config.json"
    if not config.is_file():
        return None
    try:
        return json.loads(config.read_text(encoding="utf-8")).get("vocab_size")
    except ValueError as error:
        raise SiTokError(f"{config} is not valid JSON ({error}): fetch the model again") from error


def _unknown(processor, text: str) -> set[str]:
    """Characters that a SentencePiece model knows in no piece, of a text that needs them."""
    if processor.unk_id() not in processor.encode(text):
        return set()
    # The model normalises a text as a whole; where no single character is to blame, the text is.
    return {character for character in text if processor.unk_id() in processor.encode(character)} or {text}


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def continued(text: str, target: str) -> str:
    """One text of two that are spoken one after the other: of a prompt and its target, or in training."""
    return f"{text} {target}"


class TextPreprocessor:
    """ESPnet's preprocessor: a transcript becomes int64 pieces; codes pass; speaker and language end here."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, uid: str, data: dict[str, str | np.ndarray]) -> dict[str, np.ndarray]:
        """Raises SiTokError for an utterance without text."""
        data = {name: value for name, value in data.items() if name not in ("speaker", "language")}
        if isinstance(data.get("text"), str):
            pieces = self.tokenizer.encode(data["text"])
            if not pieces:
                raise SiTokError(f"utterance {uid} has no text: leave it out of the training data (stage 2)")
            data["text"] = np.array(pieces, dtype=np.int64)
        return data
