"""Speech-like audio from a text and a seed: enough structure for a recogniser to learn, no corpus needed.

Each letter is a fixed phoneme-like pattern (formants, voicing, noise, closure), so that the same word always has the
same pattern, shifted by the speaker's pitch and vocal-tract length. Glottal pulses and noise go through moving
two-pole resonators. Everything is a function of (text, seed, speaker, sample rate).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

WORDS = (
    "alpha bravo cargo delta easy fox gamma hotel india jury kilo lima mama november oscar papa "
    "queen romeo sierra tango uniform victor winter xylo yankee zulu one two three four"
).split()

BLOCK_SECONDS = 0.005


@dataclass(frozen=True)
class Phone:
    """Formant centres in Hz, share of voicing and of noise (0-1), noise centre in Hz, duration in seconds."""

    formants: tuple[float, float, float]
    voicing: float
    noise: float
    noise_hz: float
    seconds: float


def _vowel(f1: float, f2: float, f3: float) -> Phone:
    return Phone((f1, f2, f3), 1.0, 0.0, 2000.0, 0.13)


def _sonorant(f1: float, f2: float, f3: float) -> Phone:
    return Phone((f1, f2, f3), 0.5, 0.0, 2000.0, 0.08)


def _fricative(hz: float, voicing: float = 0.0) -> Phone:
    return Phone((400.0, 1500.0, 2600.0), voicing, 0.6, hz, 0.1)


def _stop(hz: float, voicing: float = 0.0) -> Phone:
    return Phone((300.0, 1400.0, 2500.0), voicing * 0.15, 0.9, hz, 0.07)


PHONES = {
    "a": _vowel(750, 1250, 2500),
    "e": _vowel(500, 1900, 2600),
    "i": _vowel(300, 2300, 3000),
    "o": _vowel(480, 850, 2500),
    "u": _vowel(320, 750, 2300),
    "y": _vowel(310, 1800, 2300),
    "l": _sonorant(360, 1100, 2700),
    "m": _sonorant(260, 950, 2200),
    "n": _sonorant(260, 1600, 2600),
    "r": _sonorant(420, 1250, 1650),
    "w": _sonorant(300, 650, 2200),
    "j": _sonorant(270, 2200, 3000),
    "f": _fricative(5500),
    "h": _fricative(1500),
    "s": _fricative(6300),
    "x": _fricative(3200),
    "v": _fricative(5000, 0.4),
    "z": _fricative(6000, 0.4),
    "p": _stop(900),
    "t": _stop(4200),
    "k": _stop(2200),
    "c": _stop(2400),
    "q": _stop(1900),
    "b": _stop(800, 1.0),
    "d": _stop(3800, 1.0),
    "g": _stop(2000, 1.0),
}
STOPS = set("ptkcqbdg")


def _resonate(source: np.ndarray, centres: np.ndarray, bandwidth: float, rate: int) -> np.ndarray:
    """Two-pole resonator of unit gain at its centre; one centre (Hz) for each block of the source."""
    block = int(BLOCK_SECONDS * rate)
    radius = np.exp(-np.pi * bandwidth / rate)
    out = np.empty_like(source)
    state = np.zeros(2)
    for number, start in enumerate(range(0, len(source), block)):
        angle = 2 * np.pi * min(centres[number], 0.47 * rate) / rate
        gain = (1 - radius) * np.sqrt(1 - 2 * radius * np.cos(2 * angle) + radius**2)
        poles = [1.0, -2 * radius * np.cos(angle), radius**2]
        out[start : start + block], state = lfilter([gain], poles, source[start : start + block], zi=state)
    return out


def synthesize(text: str, seed: int = 0, speaker: int = 0, sample_rate: int = 24000) -> np.ndarray:
    """float32 waveform of a lower-case text, peak 0.5; unknown characters are pauses."""
    rng = np.random.default_rng([seed, speaker])
    voice = np.random.default_rng([speaker, 77])
    pitch, tract = voice.uniform(95.0, 230.0), voice.uniform(0.9, 1.15)
    columns = []  # one row a block: f1 f2 f3 voicing noise noise_hz

    def add(phone: Phone, seconds: float, voicing: float, noise: float) -> None:
        row = [*phone.formants, voicing, noise, phone.noise_hz]
        columns.extend([row] * max(1, round(seconds / BLOCK_SECONDS)))

    silence = Phone((500.0, 1500.0, 2500.0), 0.0, 0.0, 2000.0, 0.1)
    add(silence, 0.05, 0.0, 0.0)
    for letter in text.lower():
        phone = PHONES.get(letter, silence)
        seconds = phone.seconds * rng.uniform(0.85, 1.2)
        if letter in STOPS:
            add(phone, seconds * 0.7, phone.voicing, 0.0)  # the closure
            add(phone, seconds * 0.3, phone.voicing, phone.noise)  # the burst
        else:
            add(phone, seconds, phone.voicing, phone.noise)
    add(silence, 0.05, 0.0, 0.0)

    tracks = np.array(columns)
    kernel = np.hanning(9)[1:-1]
    kernel /= kernel.sum()
    padded = np.pad(tracks, ((3, 3), (0, 0)), mode="edge")
    tracks = np.stack([np.convolve(padded[:, c], kernel, mode="valid") for c in range(6)], axis=1)
    tracks[:, :3] *= tract

    block = int(BLOCK_SECONDS * sample_rate)
    total = len(tracks) * block
    time = np.arange(total) / sample_rate
    # Declination, phrase melody and a slow drift, in semitones.
    melody = -3.0 * time / max(time[-1], 1e-3) + 2.0 * np.sin(2 * np.pi * (1.3 * time + rng.uniform()))
    phase = np.cumsum(pitch * 2.0 ** (melody / 12.0)) / sample_rate
    cycle = phase % 1.0
    # A smooth opening and an abrupt closure, differentiated: -12 dB/octave source with lip radiation.
    flow = np.where(cycle < 0.6, np.sin(np.pi * cycle / 0.6) ** 2 * (0.4 + cycle), 0.0)
    glottal = np.diff(flow, prepend=0.0) * 12.0
    hiss = rng.standard_normal(total)

    def per_sample(track: np.ndarray) -> np.ndarray:
        return np.interp(np.arange(total) / block, np.arange(len(track)) + 0.5, track)

    voiced = np.zeros(total)
    source = (glottal + 0.01 * hiss) * per_sample(tracks[:, 3])
    for formant, (bandwidth, weight) in enumerate([(80.0, 1.0), (110.0, 0.7), (160.0, 0.4)]):
        voiced += weight * _resonate(source, tracks[:, formant], bandwidth, sample_rate)
    voiced += 0.1 * _resonate(source, np.full(len(tracks), 3600.0 * tract), 300.0, sample_rate)
    noise = _resonate(hiss * per_sample(tracks[:, 4]), tracks[:, 5], 900.0, sample_rate)
    wav = voiced / max(np.abs(voiced).max(), 1e-9) + 0.6 * noise / max(np.abs(noise).max(), 1.0)
    wav += 1e-4 * rng.standard_normal(total)
    return (0.5 * wav / np.abs(wav).max()).astype(np.float32)


def random_text(rng: np.random.Generator, words: int) -> str:
    """Words of WORDS, with repetition."""
    return " ".join(rng.choice(WORDS, size=words))


def speech(seconds: float, seed: int = 0, speaker: int = 0, sample_rate: int = 24000) -> np.ndarray:
    """float32 speech-like waveform of exactly round(seconds * sample_rate) samples."""
    wanted = round(seconds * sample_rate)
    rng = np.random.default_rng([seed, 5])
    wav = synthesize(random_text(rng, 1 + int(seconds * 4)), seed, speaker, sample_rate)
    while len(wav) < wanted:
        wav = np.concatenate([wav, synthesize(random_text(rng, 4), seed, speaker, sample_rate)])
    return wav[:wanted]


def write_other_text(directory: Path) -> Path:
    """Transcripts of nobody, all longer than a small corpus' sentences: for a language model; returns the file."""
    rng = np.random.default_rng(5)
    path = directory / "other_text"
    path.write_text("".join(f"other{number} {random_text(rng, 6)}\n" for number in range(8)), encoding="utf-8")
    return path


def write_corpus(
    directory: Path | str,
    n: int,
    seed: int = 0,
    sample_rate: int = 24000,
    speakers: int = 2,
    words: tuple[int, int] = (2, 5),
) -> Path:
    """n wav files (PCM_16) and a data directory in Kaldi layout: wav.scp, text, utt2spk, spk2utt, sorted by id.

    Returns the data directory, `directory` itself; the audio is in `directory/wav`; paths in wav.scp are absolute.
    """
    directory = Path(directory).resolve()
    (directory / "wav").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 11])
    rows = []
    for number in range(n):
        speaker = number % speakers
        utt = f"spk{speaker:02d}-utt{number:04d}"
        text = random_text(rng, int(rng.integers(words[0], words[1] + 1)))
        path = directory / "wav" / f"{utt}.wav"
        soundfile.write(path, synthesize(text, seed * 100003 + number, speaker, sample_rate), sample_rate, "PCM_16")
        rows.append((utt, f"spk{speaker:02d}", str(path), text))
    rows.sort()
    (directory / "wav.scp").write_text("".join(f"{utt} {path}\n" for utt, _, path, _ in rows), encoding="utf-8")
    (directory / "text").write_text("".join(f"{utt} {text}\n" for utt, _, _, text in rows), encoding="utf-8")
    (directory / "utt2spk").write_text("".join(f"{utt} {spk}\n" for utt, spk, _, _ in rows), encoding="utf-8")
    by_speaker: dict[str, list[str]] = {}
    for utt, spk, _, _ in rows:
        by_speaker.setdefault(spk, []).append(utt)
    lines = "".join(f"{spk} {' '.join(utts)}\n" for spk, utts in sorted(by_speaker.items()))
    (directory / "spk2utt").write_text(lines, encoding="utf-8")
    return directory
