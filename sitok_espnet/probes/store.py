"""Reading the features of stage 4, one utterance at a time, as ESPnet's datasets want it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import kaldiio
import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.probes.card import InputCard
from sitok_espnet.tokens import open_tokens, unflatten_codes

INDEX = "frames.scp"


class FeatureStore(Mapping):
    """Utterance -> (T, N) int64 codes or (T, W) float32 frames of a folder with an input card.

    Args:
        folder: ``dump/feats/<input>``, or a file in it.

    Raises:
        SiTokError: an unfinished or damaged folder.
    """

    def __init__(self, folder: Path | str):
        folder = Path(folder)
        self.folder = folder if folder.is_dir() else folder.parent
        self.card = InputCard.read(self.folder)
        self._arrays: dict[str, np.ndarray] = {}
        if self.card.is_tokens:
            tokens = open_tokens(self.folder)
            self._places = {entry.utt: (entry.ark, entry.offset, entry.num_tokens) for entry in tokens.entries}
        else:
            self._places = _read_index(self.folder / INDEX)
        if len(self._places) != self.card.utterances:
            raise SiTokError(
                f"{self.folder} lists {len(self._places)} utterances, its card says {self.card.utterances}: run stage "
                "4 again"
            )

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def num_frames(self, utterance: str) -> int:
        """T, without reading."""
        return self._places[utterance][2]

    def __getitem__(self, utterance: str) -> np.ndarray:
        file, place, count = self._places[utterance]
        name = f"{file}: utterance {utterance}"
        if self.card.is_tokens:
            codes = unflatten_codes(kaldiio.load_mat(f"{file}:{place}"), self.card.codebook_sizes, name)
            if len(codes) != count:
                raise SiTokError(f"{name}: {len(codes)} tokens instead of {count}: run stage 4 again")
            return codes
        path = self.folder / file
        if file not in self._arrays:
            try:
                self._arrays[file] = np.load(path, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise SiTokError(f"{path} cannot be read ({error}): remove {self.folder}, run stage 4 again") from error
        frames = self._arrays[file][place : place + count]
        if len(frames) != count:
            raise SiTokError(
                f"{name}: {len(frames)} frames instead of {count}: remove {self.folder}, run stage 4 again"
            )
        return frames.astype(np.float32)


def _read_index(path: Path) -> dict[str, tuple[str, int, int]]:
    """``utterance file first count`` lines."""
    if not path.is_file():
        raise SiTokError(f"{path} is missing: run stage 4 again")
    places = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            utterance, file, first, count = line.split()
            places[utterance] = (file, int(first), int(count))
        except ValueError as error:
            raise SiTokError(f"{path}:{number}: expected `utterance file first count`, got {line!r}") from error
    return places
