"""What the inputs of a probe are: written beside the features (stage 4), read by training and scoring."""

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, write_json

CARD = "input.json"
TOKENS, MEL, CONTINUOUS, QUANTIZED = "tokens", "mel", "continuous", "quantized"
DASB_INPUTS = (MEL, TOKENS, CONTINUOUS)  # baseline, what is judged, upper bound
# The vectors that the decoder reads for the same tokens: what they hold, apart from learning a table of them (ours).
INPUTS = (MEL, TOKENS, QUANTIZED, CONTINUOUS)


@dataclass(frozen=True)
class InputCard:
    """One kind of input.

    Attributes:
        input: one of INPUTS.
        width: numbers a frame; for tokens the number N of codebooks.
        frame_rate: frames a second as a fraction, the same for all inputs of a tokenizer.
        codebook_sizes: entries of each codebook; empty for frames.
        model_hash, codes_hash: the tokenizer they were made with.
        utterances: how many there are.
    """

    input: str
    width: int
    frame_rate: str
    model_hash: str
    codes_hash: str
    utterances: int
    codebook_sizes: tuple[int, ...] = field(default=())

    @property
    def is_tokens(self) -> bool:
        """Integers of several codebooks, not real numbers."""
        return self.input == TOKENS

    @classmethod
    def read(cls, path: Path | str) -> "InputCard":
        """From ``input.json`` or the folder that has it.

        Raises:
            SiTokError: missing, damaged, or not an input card.
        """
        path = Path(path)
        path = path / CARD if path.is_dir() else path
        content = read_json(path)
        try:
            card = cls(**{**content, "codebook_sizes": tuple(content["codebook_sizes"])})
            if card.input not in INPUTS or card.width < 1 or Fraction(card.frame_rate) <= 0:
                raise ValueError("values out of range")
            if card.is_tokens != bool(card.codebook_sizes) or (
                card.is_tokens and len(card.codebook_sizes) != card.width
            ):
                raise ValueError("codebook_sizes do not belong to this input")
        except (TypeError, KeyError, ValueError) as error:
            raise SiTokError(f"{path} does not describe the input of a probe ({error}): run stage 4 again") from error
        return card

    def write(self, folder: Path) -> None:
        """As ``input.json``, the file that says that a folder of features is complete."""
        write_json(folder / CARD, asdict(self))
