"""Data directories: tables, checks, and audio formatting with every kind of bad file."""

import numpy as np
import pytest
import soundfile
from check_data_dir import check
from check_data_dir import main as check_main
from format_wav_scp import Limits, format_data_dir
from format_wav_scp import main as format_main
from recipe_files import atomic_text, read_table, speaker_to_utterances, write_data_dir, write_table

from sitok_espnet.errors import SiTokError


def tone(seconds: float, rate: int, hertz: float = 440.0, peak: float = 0.5) -> np.ndarray:
    return peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def data(tmp_path):
    """A consistent data directory of three utterances: 8, 24 and 44.1 kHz; `c` has no transcript."""
    wavs = {}
    for utterance, rate in (("a", 8000), ("b", 24000), ("c", 44100)):
        wavs[utterance] = str(tmp_path / f"{utterance}.wav")
        soundfile.write(wavs[utterance], tone(1.0, rate), rate, subtype="PCM_16")
    texts = {"a": "one two", "b": "three", "c": ""}
    write_data_dir(tmp_path / "data", wavs, {"a": "s1", "b": "s2", "c": "s1"}, texts)
    return tmp_path / "data"


def test_tables_round_trip_sorted_by_code_point(tmp_path):
    write_table(tmp_path / "t", {"b": "x y", "a": "", "B": 3})
    assert (tmp_path / "t").read_text() == "B 3\na\nb x y\n"
    assert read_table(tmp_path / "t", allow_empty_value=True) == {"B": "3", "a": "", "b": "x y"}


@pytest.mark.parametrize(
    "content, message",
    [
        ("a 1\na 2\n", ":2: the key 'a' occurs twice"),
        ("a 1\n\nb 2\n", ":2: blank line"),
        ("a 1\nb\n", ":2: nothing follows"),
    ],
)
def test_bad_tables_name_the_line(tmp_path, content, message):
    (tmp_path / "t").write_text(content)
    with pytest.raises(SiTokError, match=message):
        read_table(tmp_path / "t")


def test_interrupted_writing_leaves_the_old_file(tmp_path):
    (tmp_path / "t").write_text("old\n")
    with pytest.raises(KeyboardInterrupt), atomic_text(tmp_path / "t") as out:
        out.write("new, but not")
        raise KeyboardInterrupt
    assert (tmp_path / "t").read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_speakers_are_inverted():
    assert speaker_to_utterances({"u3": "b", "u1": "a", "u2": "b"}) == {"a": "u1", "b": "u2 u3"}


def test_a_set_without_transcripts_keeps_no_old_text(data):
    write_data_dir(data, read_table(data / "wav.scp"), read_table(data / "utt2spk"))
    assert not (data / "text").exists()


def test_languages_go_along_with_the_set(data, tmp_path):
    languages = {"a": "en", "b": "es", "c": "ru"}
    speakers = read_table(data / "utt2spk")
    write_data_dir(data, read_table(data / "wav.scp"), speakers, {"a": "x", "b": "y", "c": "z"}, utt2lang=languages)
    soundfile.write(tmp_path / "c.wav", tone(3.0, 16000), 16000)
    format_data_dir(data, tmp_path / "out", 24000, Limits(max_duration=2.0), nj=1)
    assert read_table(tmp_path / "out/utt2lang") == {"a": "en", "b": "es"}
    (data / "utt2lang").write_text("a en\nb es\n")
    with pytest.raises(SiTokError, match="utt2lang: 1 ids of wav.scp are missing: c"):
        check(data)
    write_data_dir(data, read_table(data / "wav.scp"), speakers)
    assert not (data / "utt2lang").exists()


def test_check_accepts_a_good_directory(data):
    assert check(data) == 3
    (data / "text").unlink()
    assert check(data) == 3


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("text", "a one\nb two\n", "text: 1 ids of wav.scp are missing: c"),
        ("text", "a one\nb two\nc\nd four\n", "text: 1 ids are not in wav.scp: d"),
        ("utt2spk", "b s2\na s1\nc s1\n", "utt2spk: a comes after b"),
        ("utt2spk", "a s1\nb\nc s1\n", "nothing follows the key 'b'"),
        ("spk2utt", "s1 a\ns2 b c\n", "not the inverse"),
        ("wav.scp", "", "has no utterance"),
    ],
)
def test_check_says_what_is_wrong(data, name, content, message, capsys):
    (data / name).write_text(content)
    with pytest.raises(SystemExit) as stopped:
        check_main([str(data)])
    assert message in str(stopped.value)


def test_check_needs_the_files(data):
    (data / "utt2spk").unlink()
    with pytest.raises(SiTokError, match="utt2spk does not exist"):
        check(data)


def test_format_makes_24_khz_mono_16_bit(data, tmp_path):
    out = tmp_path / "out"
    report = format_data_dir(data, out, 24000, Limits(), nj=2)
    assert report == ["3 of 3 utterances, 0.05 min at 24000 Hz"]
    assert check(out) == 3
    assert read_table(out / "utt2num_samples") == {"a": "24000", "b": "24000", "c": "24000"}
    assert (out / "text").read_text() == (data / "text").read_text()
    reference = tone(1.0, 24000)
    for utterance, path in read_table(out / "wav.scp").items():
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.format, info.subtype) == (24000, 1, "FLAC", "PCM_16")
        middle = slice(2400, -2400)  # away from the edges of the resampling filter
        error = np.abs(soundfile.read(path)[0] - reference)[middle].max()
        assert error < 1e-3, utterance
    # The right rate is not touched: the very samples of the source.
    source, _ = soundfile.read(read_table(data / "wav.scp")["b"], dtype="int16")
    kept, _ = soundfile.read(read_table(out / "wav.scp")["b"], dtype="int16")
    np.testing.assert_array_equal(kept, source)


def test_format_again_gives_the_same_bytes(data, tmp_path):
    out = tmp_path / "out"
    format_data_dir(data, out, 24000, Limits(), nj=1)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    format_data_dir(data, out, 24000, Limits(), nj=2)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_duration_limits_are_counted_and_old_files_go(data, tmp_path):
    for utterance, seconds in (("a", 0.2), ("c", 3.0)):
        soundfile.write(tmp_path / f"{utterance}.wav", tone(seconds, 16000), 16000)
    out = tmp_path / "out"
    format_data_dir(data, out, 24000, Limits(), nj=1)
    report = format_data_dir(data, out, 24000, Limits(0.5, 2.0), nj=1)
    assert report[:2] == ["1 left out: longer than 2 s", "1 left out: shorter than 0.5 s"]
    assert report[2].startswith("1 of 3 utterances")
    assert list(read_table(out / "wav.scp")) == ["b"]
    assert [p.name for p in (out / "audio").iterdir()] == ["b.flac"]
    assert check(out) == 1


def test_full_scale_overshoot_is_clipped_and_counted(data, tmp_path):
    square = np.sign(tone(1.0, 8000, 100.0)) * 0.999  # its resampled corners overshoot
    soundfile.write(tmp_path / "a.wav", square, 8000)
    report = format_data_dir(data, tmp_path / "out", 24000, Limits(), nj=1)
    assert "in 1 files clipped" in report[0]
    samples, _ = soundfile.read(read_table(tmp_path / "out/wav.scp")["a"])
    assert np.abs(samples).max() <= 1.0
    assert (np.sign(samples[100:-100:240]) == np.sign(square[33:-33:80][: len(samples[100:-100:240])])).all()


def write_bad(kind: str, path) -> None:
    if kind == "missing":
        path.unlink()
    elif kind == "not audio":
        path.write_bytes(b"RIFF, but no")
    elif kind == "no bytes":
        path.write_bytes(b"")
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0), 16000)
    elif kind == "stereo":
        soundfile.write(path, np.zeros((100, 2)), 16000)
    elif kind == "nan":
        soundfile.write(path, np.array([0.0, np.nan, 0.0]), 16000, subtype="FLOAT")
    elif kind == "cut off":
        path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize("kind", ["missing", "not audio", "no bytes", "no samples", "stereo", "nan", "cut off"])
def test_bad_audio_is_named_and_nothing_looks_finished(data, tmp_path, kind):
    out = tmp_path / "out"
    format_data_dir(data, out, 24000, Limits(), nj=1)
    write_bad(kind, tmp_path / "b.wav")
    with pytest.raises(SystemExit) as stopped:
        format_main(["--in_dir", str(data), "--out_dir", str(out)])
    message = str(stopped.value)
    assert "utterance b" in message and str(tmp_path / "b.wav") in message
    assert "utterance a" not in message
    assert not (out / "wav.scp").exists()


def test_all_bad_files_are_named_at_once(data, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.wav").unlink()
    with pytest.raises(SiTokError, match="(?s)utterance a.*utterance b"):
        format_data_dir(data, tmp_path / "out", 24000, Limits(), nj=1)


@pytest.mark.parametrize("line", ["b sox x.wav -t wav - |", "x/y b.wav"])
def test_commands_and_slashes_are_refused(data, line):
    (data / "wav.scp").write_text(f"{line}\n")
    with pytest.raises(SiTokError, match="wav.scp"):
        format_data_dir(data, data.parent / "out", 24000, Limits(), nj=1)


def test_limits_that_leave_nothing(data, tmp_path):
    with pytest.raises(SiTokError, match="no utterance is left"):
        format_data_dir(data, tmp_path / "out", 24000, Limits(min_duration=10), nj=1)
