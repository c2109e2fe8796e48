"""What the user named on the command line: files, directories and wav.scp lists, as utterances with locations."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sitok_espnet.audio import check_waveform, read_audio
from sitok_espnet.audio import resample as convert_rate
from sitok_espnet.errors import SiTokError

SUFFIXES = frozenset(".wav .flac .ogg .opus .mp3 .aif .aiff .au .w64 .sph .caf".split())


@dataclass(frozen=True)
class AudioInput:
    """utt: identifier without blanks or slashes. location: a path, or `file.ark:offset`."""

    utt: str
    location: str

    def read(self) -> tuple[np.ndarray, int]:
        """float32 (S,) and sampling rate. Raises SiTokError naming utterance and location."""
        try:
            if is_ark_entry(self.location):
                return _read_ark_entry(self.location)
            return read_audio(self.location)
        except SiTokError as error:
            raise SiTokError(f"utterance {self.utt}: {error}") from error


def audio_hash(item: AudioInput) -> str:
    """:func:`samples_hash` of what is read."""
    return samples_hash(*item.read())


def samples_hash(wav: np.ndarray, rate: int) -> str:
    """24 hex digits of the samples and their rate."""
    return hashlib.sha256(np.ascontiguousarray(wav).tobytes() + str(rate).encode()).hexdigest()[:24]


def is_ark_entry(location: str) -> bool:
    """Whether the location is `something:digits` (Kaldi's archive entry)."""
    path, colon, offset = location.rpartition(":")
    return bool(colon and path and offset.isdigit())


def _read_ark_entry(location: str) -> tuple[np.ndarray, int]:
    """Audio archives of ESPnet and Kaldi (wav or flac inside): float32 (S,), rate."""
    import kaldiio

    try:
        value = kaldiio.load_mat(location)
    except Exception as error:  # kaldiio raises many kinds for a damaged archive
        raise SiTokError(f"{location}: cannot be read as an archive of audio ({error})") from error
    if not isinstance(value, tuple) or len(value) != 2:
        raise SiTokError(f"{location}: the archive holds no audio (features or tokens?)")
    rate, wav = value if np.isscalar(value[0]) else (value[1], value[0])
    wav = np.asarray(wav)
    if np.issubdtype(wav.dtype, np.integer):
        wav = wav.astype(np.float32) / -float(np.iinfo(wav.dtype).min)
    return check_waveform(wav, location), int(rate)


def read_scp(path: Path | str) -> list[AudioInput]:
    """Kaldi's wav.scp, in the order of its lines; relative paths are relative to the working directory.

    Raises:
        SiTokError: naming file and line: missing file, line without path, doubled utterance, command pipe, no lines.
    """
    path = Path(path)
    if not path.is_file():
        raise SiTokError(f"{path}: no such wav.scp")
    inputs, seen = [], {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        utt, *rest = line.strip().split(maxsplit=1)
        if not rest:
            raise SiTokError(f"{path}:{number}: utterance {utt} has no path")
        location = rest[0].strip()
        if location.endswith("|"):
            raise SiTokError(
                f"{path}:{number}: utterance {utt} is a command pipe, which is not run: write the audio to files first "
                f"and list those (in a recipe local/data.sh, stage 1, must write files instead of pipes)"
            )
        if utt in seen:
            raise SiTokError(f"{path}:{number}: utterance {utt} occurs twice (first in line {seen[utt]})")
        if "/" in utt:
            raise SiTokError(f"{path}:{number}: utterance {utt}: identifiers must not contain '/'")
        seen[utt] = number
        inputs.append(AudioInput(utt, location))
    if not inputs:
        raise SiTokError(f"{path}: lists no utterances")
    return inputs


def collect_inputs(paths: Iterable[Path | str]) -> list[AudioInput]:
    """Files, directories (searched recursively, sorted) and .scp lists -> utterances.

    The identifier of a file is its name without suffix; in a directory, its path below it with `-` for `/`.

    Raises:
        SiTokError: nothing there, a directory without audio, or two inputs of one identifier.
    """
    inputs: list[AudioInput] = []
    for path in map(Path, paths):
        if path.suffix == ".scp":
            inputs += read_scp(path)
        elif path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not files:
                raise SiTokError(f"{path}: no audio files in this directory (looked for {' '.join(sorted(SUFFIXES))})")
            inputs += [AudioInput(_identifier(p.relative_to(path)), str(p)) for p in files]
        elif path.is_file():
            inputs.append(AudioInput(_identifier(Path(path.name)), str(path)))
        else:
            raise SiTokError(f"{path}: no such file or directory")
    if not inputs:
        raise SiTokError("no input: name audio files, directories or a wav.scp")
    seen: dict[str, str] = {}
    for item in inputs:
        if item.utt in seen:
            raise SiTokError(
                f"{seen[item.utt]} and {item.location} would both be utterance {item.utt}: rename one, or use a wav.scp"
            )
        seen[item.utt] = item.location
    return inputs


def _identifier(path: Path) -> str:
    return "_".join("-".join(path.with_suffix("").parts).split())


def load_at_rate(item: AudioInput, sample_rate: int, resample: bool = False) -> np.ndarray:
    """float32 (S,) at `sample_rate`; another rate is converted if `resample`, and an error if not.

    Raises:
        SiTokError: naming utterance and file.
    """
    wav, rate = item.read()
    if rate == sample_rate:
        return wav
    if not resample:
        raise SiTokError(
            f"utterance {item.utt}: {item.location} has {rate} Hz, the model needs {sample_rate} Hz: convert it first "
            f"(stage 2 of the recipe does), or give --resample"
        )
    return convert_rate(wav, rate, sample_rate)
