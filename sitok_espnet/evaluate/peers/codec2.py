"""Codec 2 (D. Rowe), a speech vocoder of 700 to 3,200 bit/s: the programs c2enc and c2dec of the system's package."""

import gzip
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sitok_espnet.audio import resample
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.peers.abs_peer import MEASURED, SAMPLE_RATE, AbsPeer, Coded, PeerUnavailable, fit

RATE = 8000  # Hz
_INSTALL = (
    "install the package codec2 (Debian: apt-get install codec2), or, "
    "without root, local/fetch_codec2.sh DOWNLOADS DIR/codec2 and give DIR as --peer_dir"
)
_REMEDY = f"the programs c2enc and c2dec are not here: {_INSTALL}"


@dataclass(frozen=True)
class Mode:
    """Samples (8 kHz) and bits of a frame, and how many samples the decoder's output is late.

    The encoder looks at a window whose middle is 20 ms behind the newest sample. The decoder adds nothing to that, but
    700C fades from the frame before to this one over all four of its 10 ms parts, which is one part more.
    """

    samples: int
    bits: int
    delay: int = 160


MODES = {
    "3200": Mode(160, 64),
    "2400": Mode(160, 48),
    "1600": Mode(320, 64),
    "1400": Mode(320, 56),
    "1300": Mode(320, 52),
    "1200": Mode(320, 48),
    "700C": Mode(320, 28, 240),
}


class Codec2(AbsPeer):
    """``codec2:MODE``, as ``codec2:1200``.

    The programs write whole bytes a frame; bits that are not of the code are taken out and counted as nothing. Times
    include starting the programs (a few ms) and resampling from and to 24 kHz.
    """

    codec = "codec2"
    title = "Codec2"
    examples = ("1200", "700C", "2400")
    rate_source = MEASURED
    inner_rate = RATE
    weights = "package"
    note = "8 kHz: nothing above 4 kHz"

    def __init__(self, setting: str, directory: Path | None = None, device: str = "cpu"):
        super().__init__(setting, directory, device)
        self.mode = MODES[setting]
        self.nominal = self.mode.bits * RATE / self.mode.samples
        self.frame_rate = RATE / self.mode.samples
        self._programs, self._environment = find_programs(directory)
        self.version = package_version(self._programs["c2enc"])
        self._try_programs()

    @classmethod
    def key_of(cls, setting: str) -> str:
        if setting not in MODES:
            raise cls.refuse(setting, f"expected one of {', '.join(MODES)}")
        return setting

    @classmethod
    def label_of(cls, key: str) -> str:
        return f"mode {key}"

    def encode(self, wav: np.ndarray) -> Coded:
        """Payload: the frames' bits one after the other, filled up to a byte at the end."""
        speech = resample(wav, SAMPLE_RATE, RATE)
        size = self.mode.samples
        speech = fit(speech, -(-(len(speech) + self.mode.delay) // size) * size)
        pcm = np.clip(np.round(speech * 32768), -32768, 32767).astype("<i2")
        frames = np.frombuffer(self._run("c2enc", pcm.tobytes()), np.uint8).reshape(len(speech) // size, -1)
        bits = np.unpackbits(frames, axis=1)[:, : self.mode.bits]
        payload = np.packbits(bits).tobytes()
        return Coded((payload, len(frames)), 8 * len(payload))

    def decode(self, payload: tuple[bytes, int], samples: int) -> np.ndarray:
        data, frames = payload
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=frames * self.mode.bits)
        stream = np.packbits(bits.reshape(frames, self.mode.bits), axis=1).tobytes()
        pcm = np.frombuffer(self._run("c2dec", stream), "<i2")[self.mode.delay :].astype(np.float32) / 32768
        return fit(resample(pcm, RATE, SAMPLE_RATE), samples)

    def _try_programs(self) -> None:
        """One frame of silence there and back: a program without its library is found now, not in the midst of a stage.

        Raises:
            PeerUnavailable: a program cannot be started, fails, or gives something that is no frame.
        """
        try:
            coded = self.encode(np.zeros(1, np.float32))
            self.decode(coded.payload, 1)
        except (SiTokError, ValueError) as error:
            raise PeerUnavailable(f"the programs of Codec2 do not work here: {error}: {_INSTALL}") from error

    def _run(self, program: str, data: bytes) -> bytes:
        command = [self._programs[program], self.setting, "-", "-"]
        try:
            done = subprocess.run(command, input=data, capture_output=True, env=self._environment)
        except OSError as error:
            raise SiTokError(f"{program} cannot be started ({error.strerror or error})") from error
        if done.returncode != 0 or not done.stdout:
            message = done.stderr.decode(errors="replace").replace(command[0], program).strip() or "no output"
            raise SiTokError(f"{program} {self.setting} failed with status {done.returncode}: {message}")
        return done.stdout


def find_programs(directory: Path | None) -> tuple[dict[str, str], dict[str, str]]:
    """Paths of c2enc and c2dec, and the environment to start them in.

    Looked for in ``<directory>/codec2`` (an unpacked package, or a build) and then on the PATH.

    Raises:
        PeerUnavailable: they are in neither place.
    """
    names = ("c2enc", "c2dec")
    for place in _folders(directory):
        found = {name: path for name in names if (path := shutil.which(name, path=str(place)))}
        if len(found) == len(names):
            return found, _with_libraries(directory / "codec2")
    found = {name: path for name in names if (path := shutil.which(name))}
    if len(found) < len(names):
        raise PeerUnavailable(_REMEDY)
    return found, dict(os.environ)


def _folders(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        yield from sorted({path.parent.resolve() for path in (directory / "codec2").rglob("c2enc")})


def _with_libraries(tree: Path) -> dict[str, str]:
    """The environment in which programs find the libraries of an unpacked package."""
    folders = sorted({str(path.parent.resolve()) for path in tree.rglob("libcodec2.so*")})
    folders += [os.environ["LD_LIBRARY_PATH"]] if os.environ.get("LD_LIBRARY_PATH") else []
    return os.environ | ({"LD_LIBRARY_PATH": ":".join(folders)} if folders else {})


def package_version(program: str) -> str:
    """From the Debian package that the program came with; the programs themselves do not say it."""
    changelog = Path(program).resolve().parents[1] / "share/doc/codec2/changelog.Debian.gz"
    try:
        with gzip.open(changelog, "rt", encoding="utf-8") as file:
            return file.readline().split("(")[1].split(")")[0]
    except (OSError, IndexError):
        return "unknown (not of a Debian package)"
