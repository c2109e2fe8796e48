"""What the report page is made of: recognised words, audio, spectrograms, loss curves."""

import io
import random

import editdistance
import numpy as np
import pytest
import soundfile
from page_reader import payload
from PIL import Image
from speech_generator import speech

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.page.audio import encode_audio
from sitok_espnet.evaluate.page.spectrogram import draw_spectrograms, time_ticks
from sitok_espnet.evaluate.page.training import Series, read_curves
from sitok_espnet.evaluate.words import INSERTED, LEFT_OUT, SAME, SUBSTITUTED, align_words


def test_marked_words():
    words = align_words("no directory entries match".split(), "the directory entries".split())
    assert [(word.kind, word.said, word.heard) for word in words] == [
        (SUBSTITUTED, "no", "the"),
        (SAME, "directory", "directory"),
        (SAME, "entries", "entries"),
        (LEFT_OUT, "match", ""),
    ]
    assert [word.kind for word in align_words([], ["a", "b"])] == [INSERTED, INSERTED]
    assert align_words([], []) == []


def test_errors_are_those_of_the_word_error_rate():
    draw = random.Random(0)
    for _ in range(200):
        said, heard = ([draw.choice("abc") for _ in range(draw.randrange(8))] for _ in range(2))
        words = align_words(said, heard)
        assert sum(word.kind != SAME for word in words) == editdistance.eval(said, heard)
        assert [word.said for word in words if word.said] == said
        assert [word.heard for word in words if word.heard] == heard


@pytest.mark.parametrize("name", ["flac", "wav"])
def test_players_hold_the_scored_samples(name, tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32767, 5000, dtype=np.int16)
    soundfile.write(tmp_path / "x.wav", samples, 24000, subtype="PCM_16")
    wav, rate = soundfile.read(tmp_path / "x.wav", dtype="float32")
    uri = encode_audio(wav, rate, name)
    assert uri.startswith(f"data:audio/{name};base64,")
    back, rate = soundfile.read(io.BytesIO(payload(uri)), dtype="int16")
    assert rate == 24000
    np.testing.assert_array_equal(back, samples)


@pytest.mark.parametrize("name", ["mp3", "ogg"])
def test_lossy_formats_are_smaller_and_alike(name):
    wav = speech(2.0, seed=3)
    uri = encode_audio(wav, 24000, name)
    back, rate = soundfile.read(io.BytesIO(payload(uri)))
    assert rate == 24000 and len(uri) < len(encode_audio(wav, 24000, "flac")) / 2
    size = min(len(back), len(wav))
    peak = np.abs(np.correlate(back[:size], wav[:size], "full")).max()
    assert peak / np.linalg.norm(back[:size]) / np.linalg.norm(wav[:size]) > 0.9


def test_formats_and_rates_that_do_not_exist():
    with pytest.raises(SiTokError, match="unknown audio format 'aac'"):
        encode_audio(np.zeros(10), 24000, "aac")
    with pytest.raises(SiTokError, match="7001 Hz cannot be written as mp3"):
        encode_audio(np.zeros(10), 7001, "mp3")


def pixels(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(payload(uri))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_spectrograms_share_axes_and_levels():
    seconds = np.arange(24000) / 24000
    tone = np.sin(2 * np.pi * 1000 * seconds).astype(np.float32)
    pictures = draw_spectrograms([(0.5 * tone, 24000), (0.05 * tone, 24000), (0.5 * tone[:12000], 24000)])
    loud, quiet, short = map(pixels, pictures.uris)
    assert loud.shape == quiet.shape == short.shape == (128, 50, 3) and pictures.seconds == 1.0
    np.testing.assert_array_equal(loud[:, :22], short[:, :22])
    assert (short[:, 26:] == (236, 239, 242)).all()  # it has ended
    (here,) = (tick.percent for tick in pictures.frequencies if tick.label == "1")
    brightness = loud.sum(2)[:, 25]
    assert abs(100 * (1 - (brightness.argmax() + 0.5) / 128) - here) < 1.5
    assert quiet.sum(2)[:, 25].max() < brightness.max()


@pytest.mark.parametrize("seconds", [0.02, 0.5, 1.3, 4.9, 31.0, 900.0, 5000.0])
def test_time_ticks_lie_on_the_axis(seconds):
    ticks = time_ticks(seconds)
    assert 1 <= len(ticks) <= 6 and ticks[0].label == "0"
    for tick in ticks:
        assert float(tick.label) / seconds * 100 == pytest.approx(tick.percent) and tick.percent <= 100


def test_curves_of_a_resumed_training(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    for part in ("first", "second"):
        with SummaryWriter(tmp_path / "train", filename_suffix=part) as writer:
            for step in (1, 2) if part == "first" else (2, 3):
                writer.add_scalar("loss", {"first": 10.0, "second": 20.0}[part] + step, step)
            writer.add_scalar("loss", float("nan"), 9)
    curves = read_curves(tmp_path)
    assert curves.valid == {} and list(curves.train) == ["loss"]
    assert curves.train["loss"].steps.tolist() == [1, 2, 3]
    assert curves.train["loss"].values.tolist() == [11.0, 22.0, 23.0]


def test_thinning_keeps_means():
    series = Series(np.arange(1000), np.arange(1000.0) ** 2)
    thin = series.thinned(10)
    assert len(thin.steps) == 10 and thin.values[0] == np.mean(np.arange(100.0) ** 2) and thin.steps[0] == 49.5
    assert series.thinned(1000) is series


def test_no_curves(tmp_path):
    with pytest.raises(SiTokError, match="no event files in .*use_tensorboard"):
        read_curves(tmp_path)
