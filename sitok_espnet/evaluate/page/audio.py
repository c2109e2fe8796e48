"""Audio inside the page: encoded files as data URIs (RFC 2397), so that it needs no other file."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import soundfile

from sitok_espnet.errors import SiTokError


@dataclass(frozen=True)
class AudioFormat:
    """How players get their audio.

    Attributes:
        container, subtype: libsndfile's names.
        mime: media type.
        lossless: whether the players hold the scored samples themselves.
    """

    container: str
    subtype: str
    mime: str
    lossless: bool


# FLAC is about half of WAV, plays in every browser of the last years, and unlike MP3 and Ogg adds nothing of its own
# to what is compared.
FORMATS = {
    "flac": AudioFormat("FLAC", "PCM_16", "audio/flac", True),
    "wav": AudioFormat("WAV", "PCM_16", "audio/wav", True),
    "mp3": AudioFormat("MP3", "MPEG_LAYER_III", "audio/mpeg", False),
    "ogg": AudioFormat("OGG", "VORBIS", "audio/ogg", False),
}


def data_uri(content: bytes, mime: str) -> str:
    """``data:<mime>;base64,...``."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def encode_audio(wav: np.ndarray, sample_rate: int, name: str) -> str:
    """float (S,) within [-1, 1] as a data URI; a 16-bit file keeps every sample in a lossless format.

    Raises:
        SiTokError: unknown format, or a sampling rate that it does not have.
    """
    if name not in FORMATS:
        raise SiTokError(f"unknown audio format {name!r}: choose from {', '.join(FORMATS)} (option --audio_format)")
    kind = FORMATS[name]
    samples = np.clip(np.rint(np.asarray(wav, dtype=np.float64) * 32768), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, samples, sample_rate, format=kind.container, subtype=kind.subtype)
    except soundfile.SoundFileError as error:
        raise SiTokError(
            f"audio of {sample_rate} Hz cannot be written as {name} ({error}): take --audio_format flac"
        ) from error
    return data_uri(buffer.getvalue(), kind.mime)
