"""Reading, checking, resampling and writing audio. Nothing here changes a signal unless it was asked to.

Input lists (files, directories, wav.scp) are in sitok_espnet.inputs.
"""

import os
import struct
import sys
from pathlib import Path

import numpy as np
import soundfile

from sitok_espnet.errors import SiTokError

RIFF_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # written by programs that stream into a pipe


def check_waveform(wav, name: str) -> np.ndarray:
    """Any array-like waveform -> contiguous float32 (S,), S >= 1.

    Raises:
        SiTokError: naming `name`, for more than one dimension, integer samples, no samples, NaN or infinity.
    """
    if hasattr(wav, "detach"):  # a torch tensor, without importing torch
        wav = wav.detach().cpu().numpy()
    array = np.asarray(wav)
    if array.ndim != 1:
        raise SiTokError(
            f"{name}: expected one channel as a 1-D array, got shape {array.shape}: choose or mix a channel first"
        )
    if array.size == 0:
        raise SiTokError(f"{name}: no samples (empty audio): remove it from the list")
    if not np.issubdtype(array.dtype, np.floating):
        raise SiTokError(
            f"{name}: samples are {array.dtype}, expected floating point within [-1, 1]: divide int16 by 32768"
        )
    array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array))[0])
        raise SiTokError(f"{name}: NaN or infinite samples (the first at sample {first}): the audio is damaged")
    return array


def check_sample_rate(rate: int, wanted: int) -> None:
    """SiTokError with the remedy unless audio of ``rate`` Hz is what the model needs."""
    if rate != wanted:
        raise SiTokError(
            f"the audio has {rate} Hz, the model needs {wanted} Hz: call "
            f"sitok_espnet.resample(wav, {rate}, {wanted}), or give --resample on the command line"
        )


def _check_riff_length(path: Path) -> None:
    """libsndfile reads a cut-off WAV without a word: compare the size in the header with the file's."""
    with open(path, "rb") as file:
        if file.read(4) != b"RIFF":
            return
        file.seek(12)
        size = os.fstat(file.fileno()).st_size
        while len(header := file.read(8)) == 8:
            name, length = header[:4], struct.unpack("<I", header[4:])[0]
            if name == b"data":
                if length not in RIFF_UNKNOWN_SIZES and file.tell() + length > size:
                    raise SiTokError(
                        f"{path}: truncated: the header promises {length} bytes of audio, "
                        f"{size - file.tell()} are there"
                    )
                return
            file.seek(length + length % 2, os.SEEK_CUR)


def read_audio(path: Path | str) -> tuple[np.ndarray, int]:
    """Read a single-channel file of any format of libsndfile: float32 (S,), sampling rate in Hz.

    Raises:
        SiTokError: naming the file: missing, unreadable, truncated, several channels, empty, NaN or infinity.
    """
    path = Path(path)
    if not path.is_file():
        raise SiTokError(f"{path}: no such audio file")
    if path.stat().st_size == 0:
        raise SiTokError(f"{path}: no samples (the file has 0 bytes): remove it from the list")
    try:
        _check_riff_length(path)
        with soundfile.SoundFile(path) as file:
            if file.channels != 1:
                raise SiTokError(
                    f"{path}: {file.channels} channels, expected one: choose or mix a channel first "
                    f"(sox IN OUT remix 1, or ffmpeg -i IN -ac 1 OUT)"
                )
            expected, rate = file.frames, file.samplerate
            wav = file.read(dtype="float32")
    except (soundfile.SoundFileError, OSError, MemoryError, struct.error) as error:
        raise SiTokError(f"{path}: cannot be read as audio ({error}): is it damaged or another format?") from error
    if len(wav) != expected:
        raise SiTokError(f"{path}: truncated: the header promises {expected} samples, {len(wav)} can be read")
    return check_waveform(wav, str(path)), rate


def resample(wav, orig_rate: int, new_rate: int) -> np.ndarray:
    """Band-limited resampling: float (S,) -> float32 (ceil(S * new_rate / orig_rate),).

    A windowed sinc of 64 zero crossings with a Kaiser window (beta 14.77, roll-off 0.948: the values of resampy's
    `kaiser_best`). Equal rates return the samples unchanged.

    Raises:
        SiTokError: rates that are not positive integers, or a bad waveform.
    """
    wav = check_waveform(wav, "resample")
    for rate in (orig_rate, new_rate):
        if int(rate) != rate or rate <= 0:
            raise SiTokError(f"resample: sampling rates must be positive integers, got {orig_rate} and {new_rate}")
    if orig_rate == new_rate:
        return wav
    import torch
    from torchaudio.functional import resample as torchaudio_resample

    out = torchaudio_resample(
        torch.from_numpy(wav),
        int(orig_rate),
        int(new_rate),
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
    return out.numpy()


def format_of(path: Path | str) -> str:
    """What `write_audio` would write, WAV or FLAC; SiTokError for another suffix."""
    kind = Path(path).suffix.lower().lstrip(".").upper()
    if kind not in ("WAV", "FLAC"):
        raise SiTokError(f"{path}: can only write .wav and .flac")
    return kind


def write_audio(path: Path | str, wav, sample_rate: int) -> int:
    """Write float (S,) as PCM_16 (format by suffix: .wav or .flac) under a temporary name, then move it into place.

    Never rescales: samples outside [-1, 1] are clipped, counted and reported on stderr.

    Returns:
        Number of clipped samples.

    Raises:
        SiTokError: bad waveform, unknown suffix or unwritable place, naming the file.
    """
    path = Path(path)
    wav = check_waveform(wav, str(path))
    kind = format_of(path)
    clipped = int(np.count_nonzero(np.abs(wav) > 1.0))
    if clipped:
        print(
            f"warning: {path}: {clipped} of {len(wav)} samples clipped (peak {np.abs(wav).max():.2f})", file=sys.stderr
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # 32767/32768: full scale must not wrap or saturate differently from format to format.
        limited = np.clip(wav, -1.0, 32767 / 32768)
        soundfile.write(temporary, limited, sample_rate, subtype="PCM_16", format=kind)
        os.replace(temporary, path)
    except (soundfile.SoundFileError, OSError) as error:
        raise SiTokError(f"{path}: cannot be written ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return clipped
