"""The joint vocabulary of text pieces and speech tokens: one versioned file (DESIGN section 4, sitok_tts1; ours).

Identifiers, in this order:

    0 ...                text pieces, as their tokenizer numbers them (so that a pretrained text LM keeps its own)
    text_size ...        SPECIAL: padding, where text begins, where speech begins, where speech ends
    speech_offset(0) ... codes of codebook 0, then of codebook 1, ...

The end of speech stands directly before codebook 0: what may follow a frame of speech is one range of identifiers.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from sitok_espnet.errors import SiTokError
from sitok_espnet.tokens import layer_offsets

LAYOUT_VERSION = 1
SPECIAL = ("<pad>", "<text>", "<speech>", "<end>")


@dataclass(frozen=True)
class JointVocabulary:
    """What an identifier means.

    Attributes:
        text_size: number of text pieces.
        text_hash: of the text tokenizer's file or files; texts and language model must share it.
        codebook_sizes: entries of each codebook.
        codes_hash: of the tokenizer that the codes belong to (a dump's manifest carries it).
        frame_rate: frames of N codes each a second, an exact fraction as "25/2".
        layout_version: of this file.
    """

    text_size: int
    text_hash: str
    codebook_sizes: tuple[int, ...]
    codes_hash: str
    frame_rate: str
    layout_version: int = LAYOUT_VERSION

    def __post_init__(self) -> None:
        if self.layout_version != LAYOUT_VERSION:
            raise SiTokError(
                f"joint vocabulary of layout {self.layout_version}, this package reads {LAYOUT_VERSION}: make it again "
                "(stage 3), or use the package version that wrote it"
            )
        if self.text_size < 1 or not self.codebook_sizes or min(self.codebook_sizes) < 1:
            raise SiTokError("a joint vocabulary needs text pieces and at least one codebook")
        if Fraction(self.frame_rate) <= 0:
            raise SiTokError(f"frame rate {self.frame_rate}: it must be positive")

    @property
    def num_codebooks(self) -> int:
        """N."""
        return len(self.codebook_sizes)

    @property
    def padding(self) -> int:
        """Where a stream has nothing."""
        return self.text_size

    @property
    def text_begin(self) -> int:
        """First identifier of every sequence."""
        return self.text_size + 1

    @property
    def speech_begin(self) -> int:
        """Between text and speech."""
        return self.text_size + 2

    @property
    def end(self) -> int:
        """Behind the last frame."""
        return self.text_size + 3

    @cached_property
    def speech_offsets(self) -> tuple[int, ...]:
        """Identifier of code 0 of each codebook."""
        first = self.text_size + len(SPECIAL)
        return tuple(first + int(offset) for offset in layer_offsets(self.codebook_sizes))

    def __len__(self) -> int:
        return self.text_size + len(SPECIAL) + sum(self.codebook_sizes)

    def choices(self, codebook: int) -> range:
        """What may be predicted where a code of this codebook is due: its codes, and for codebook 0 the end as well."""
        first = self.speech_offsets[codebook]
        return range(self.end if codebook == 0 else first, first + self.codebook_sizes[codebook])

    def write(self, path: str | Path) -> None:
        """One JSON file, moved into place whole."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, path: str | Path) -> "JointVocabulary":
        """Raises SiTokError for a missing or damaged file, or another layout."""
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SiTokError(f"{path} cannot be read ({error.strerror}): stage 3 of the recipe makes it") from error
        except ValueError as error:
            raise SiTokError(f"{path} is not valid JSON ({error}): make it again (stage 3)") from error
        return cls.from_mapping(content, str(path))

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], name: str) -> "JointVocabulary":
        """From a mapping, as a configuration keeps it; ``name`` is for messages."""
        try:
            return cls(**{**content, "codebook_sizes": tuple(content["codebook_sizes"])})
        except (TypeError, KeyError, ValueError) as error:
            raise SiTokError(f"{name} is not a joint vocabulary ({error!r}): make it again (stage 3)") from error

    def check_manifest(self, manifest: Mapping[str, Any], name: str) -> None:
        """SiTokError unless a dump's tokens are those of this vocabulary."""
        if manifest["codes_hash"] != self.codes_hash or tuple(manifest["codebook_sizes"]) != self.codebook_sizes:
            raise SiTokError(
                f"{name} holds tokens of another tokenizer (codes_hash {manifest['codes_hash']}, sizes "
                f"{list(manifest['codebook_sizes'])}) than the joint vocabulary ({self.codes_hash}, "
                f"{list(self.codebook_sizes)}): dump them with the same model, or make the vocabulary again"
            )
