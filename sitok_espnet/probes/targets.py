"""Labels and transcripts as numbers, in training (ESPnet's preprocessor) and in scoring."""

from collections.abc import Sequence

import numpy as np

from sitok_espnet.errors import SiTokError


class TargetPreprocessor:
    """``target`` of a sample, a string, -> int64 (L,): one class, or the pieces of a text.

    Args:
        target_list: names of the classes or pieces.
        bpemodel: SentencePiece model; None for classes.
    """

    def __init__(self, target_list: Sequence[str], bpemodel: str | None):
        self.numbers = {name: number for number, name in enumerate(target_list)}
        self.bpemodel = bpemodel
        self._pieces = None

    def __call__(self, uid: str, data: dict) -> dict:
        return {**data, "target": self.encode(data["target"], uid)} if "target" in data else data

    def encode(self, target: str, utterance: str) -> np.ndarray:
        """The numbers of a label or text; SiTokError for an unknown label."""
        if self.bpemodel is None:
            if target not in self.numbers:
                raise SiTokError(
                    f"utterance {utterance}: the label {target!r} is not one of the training set: run stage 3 again"
                )
            return np.array([self.numbers[target]], dtype=np.int64)
        pieces = self._load().encode(target, out_type=str)
        unknown = self.numbers["<unk>"]
        return np.array([self.numbers.get(piece, unknown) for piece in pieces], dtype=np.int64)

    def _load(self):
        if self._pieces is None:  # late: a data worker makes its own
            import sentencepiece

            self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(self.bpemodel))
        return self._pieces

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_pieces": None}


def join_pieces(ids: Sequence[int], target_list: Sequence[str]) -> str:
    """Piece ids -> text: pieces run together, the mark U+2581 is a blank; <unk> stays visible."""
    text = "".join(target_list[number] for number in ids if target_list[number] not in ("<blank>", "<sos/eos>"))
    return text.replace("\u2581", " ").strip()
