"""Audio files and lists of them: exact where they are good, a clear error where they are not."""

import io
import struct

import kaldiio
import numpy as np
import pytest
import soundfile
from speech_generator import speech

from sitok_espnet.audio import check_waveform, read_audio, resample, write_audio
from sitok_espnet.errors import SiTokError
from sitok_espnet.inputs import AudioInput, collect_inputs, load_at_rate, read_scp


@pytest.fixture(scope="module")
def wav():
    return speech(0.5, seed=2)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_written_audio_comes_back(tmp_path, wav, suffix, capsys):
    path = tmp_path / "new" / f"a.{suffix}"
    assert write_audio(path, wav, 24000) == 0
    got, rate = read_audio(path)
    assert rate == 24000 and got.dtype == np.float32
    np.testing.assert_allclose(got, wav, atol=1 / 32768)
    assert soundfile.info(path).subtype == "PCM_16"
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert capsys.readouterr().err == ""


def test_clipping_is_counted_and_said_and_nothing_is_rescaled(tmp_path, capsys):
    wav = np.array([0.5, 1.5, -2.0, 1.0, -1.0], dtype=np.float32)
    assert write_audio(tmp_path / "a.wav", wav, 24000) == 2
    assert "a.wav: 2 of 5 samples clipped (peak 2.00)" in capsys.readouterr().err
    got, _ = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(got, [0.5, 1.0, -1.0, 1.0, -1.0], atol=1 / 16384)


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path, wav, monkeypatch):
    path = tmp_path / "a.wav"
    write_audio(path, wav, 24000)
    before = path.read_bytes()

    def fail(file, *args, **kwargs):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(soundfile, "write", fail)
    with pytest.raises(SiTokError, match="a.wav: cannot be written.*disk full"):
        write_audio(path, wav * 0.5, 24000)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_write_refuses(tmp_path, wav):
    with pytest.raises(SiTokError, match=r"a.mp3: can only write .wav and .flac"):
        write_audio(tmp_path / "a.mp3", wav, 24000)
    with pytest.raises(SiTokError, match="a.wav: NaN"):
        write_audio(tmp_path / "a.wav", np.array([np.nan]), 24000)
    assert not list(tmp_path.iterdir())


def test_read_refuses_and_names_the_file(tmp_path, wav):
    cases = {}

    def case(name, message):
        cases[tmp_path / name] = message
        return tmp_path / name

    soundfile.write(case("stereo.wav", "2 channels, expected one"), np.stack([wav, wav], 1), 24000)
    soundfile.write(case("nan.wav", "NaN or infinite samples .the first at sample 3"), nan_at(wav, 3), 24000, "FLOAT")
    soundfile.write(case("inf.wav", "NaN or infinite"), nan_at(wav, 3, np.inf), 24000, "FLOAT")
    soundfile.write(case("none.wav", "no samples"), wav[:0], 24000)
    case("zero.flac", "no samples .the file has 0 bytes").touch()
    case("text.wav", "cannot be read as audio").write_text("this is not audio")
    case("folder.wav", "no such audio file").mkdir()
    case("absent.wav", "no such audio file")
    for suffix in ("wav", "flac"):
        whole = tmp_path / f"whole.{suffix}"
        soundfile.write(whole, wav, 24000)
        data = whole.read_bytes()
        case(f"cut.{suffix}", "truncated|cannot be read").write_bytes(data[: len(data) * 2 // 3])
    for path, message in cases.items():
        with pytest.raises(SiTokError, match=f"{path}: .*({message})"):
            read_audio(path)


def nan_at(wav, index, value=np.nan):
    wav = wav.copy()
    wav[index] = value
    return wav


def test_header_of_a_streamed_wav_is_accepted(tmp_path, wav):
    """Programs that write into a pipe cannot know the length and leave the largest number."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wav, 24000, format="WAV")
    data = bytearray(buffer.getvalue())
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", 0xFFFFFFFF)
    (tmp_path / "a.wav").write_bytes(data)
    got, _ = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(got, wav, atol=1 / 32768)


@pytest.mark.parametrize("rates", [(16000, 24000), (22050, 24000), (48000, 24000), (24000, 16000)])
def test_resample_keeps_a_sine_and_drops_what_does_not_fit(rates):
    orig, new = rates
    time, wanted = np.arange(orig) / orig, np.arange(new) / new
    tone = np.sin(2 * np.pi * 1000 * time)
    got = resample(tone, orig, new)
    assert len(got) == new and got.dtype == np.float32
    np.testing.assert_allclose(got[500:-500], np.sin(2 * np.pi * 1000 * wanted)[500:-500], atol=2e-3)
    if new < orig:
        alias = resample(np.sin(2 * np.pi * (new / 2 + 1000) * time), orig, new)
        assert np.abs(alias[500:-500]).max() < 1e-3


def test_resample_length_and_identity(wav):
    assert len(resample(wav[:101], 16000, 24000)) == 152
    np.testing.assert_array_equal(resample(wav, 24000, 24000), wav)
    with pytest.raises(SiTokError, match="positive integers"):
        resample(wav, 16000, 0)


def test_public_name():
    import sitok_espnet

    assert sitok_espnet.resample is resample


def test_check_waveform_keeps_values():
    got = check_waveform([0.5, -0.25], "x")
    assert got.dtype == np.float32 and got.tolist() == [0.5, -0.25]
    for bad, message in ((np.zeros((3, 1)), "x: expected one channel"), (np.zeros(3, int), "x: samples are int64")):
        with pytest.raises(SiTokError, match=message):
            check_waveform(bad, "x")


# ------------------------------------------------------------------ lists


def test_collect_files_directories_and_scp(tmp_path, wav):
    for name in ("one.wav", "dir/b.flac", "dir/deep/a b.WAV", "dir/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            (tmp_path / name).write_text("no audio")
        else:
            soundfile.write(tmp_path / name, wav, 24000)
    (tmp_path / "wav.scp").write_text(f"utt1 {tmp_path}/one.wav\n\nutt2\t{tmp_path}/dir/deep/a b.WAV \n")
    got = collect_inputs([tmp_path / "one.wav", tmp_path / "dir", tmp_path / "wav.scp"])
    assert [item.utt for item in got] == ["one", "b", "deep-a_b", "utt1", "utt2"]
    for item in got:
        np.testing.assert_allclose(item.read()[0], wav, atol=1 / 32768)


def test_scp_may_name_archives(tmp_path, wav):
    pcm = (wav * 32767).astype(np.int16)
    ark = tmp_path / "audio.ark"
    kaldiio.save_ark(str(ark), {"a": (24000, pcm), "b": (24000, pcm[:100])}, scp=str(tmp_path / "wav.scp"))
    first, second = read_scp(tmp_path / "wav.scp")
    got, rate = second.read()
    assert rate == 24000 and got.dtype == np.float32
    np.testing.assert_allclose(got, wav[:100], atol=1 / 16384)
    assert len(first.read()[0]) == len(wav)
    kaldiio.save_ark(str(tmp_path / "feats.ark"), {"a": wav[:, None]}, scp=str(tmp_path / "feats.scp"))
    with pytest.raises(SiTokError, match="utterance a: .*feats.ark:2: the archive holds no audio"):
        read_scp(tmp_path / "feats.scp")[0].read()
    ark.write_bytes(ark.read_bytes()[:50])
    with pytest.raises(SiTokError, match="utterance b: .*audio.ark.*cannot be read as an archive"):
        second.read()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a x.wav\nb sox y.wav -t wav - |\n", r"wav.scp:2: utterance b is a command pipe.*write the audio to files"),
        ("a x.wav\na y.wav\n", r"wav.scp:2: utterance a occurs twice \(first in line 1\)"),
        ("a\n", "wav.scp:1: utterance a has no path"),
        ("a/b x.wav\n", "wav.scp:1: utterance a/b: identifiers"),
        ("\n", "wav.scp: lists no utterances"),
    ],
)
def test_bad_scp(tmp_path, text, message):
    (tmp_path / "wav.scp").write_text(text)
    with pytest.raises(SiTokError, match=message):
        read_scp(tmp_path / "wav.scp")


def test_bad_inputs(tmp_path, wav):
    (tmp_path / "empty").mkdir()
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, wav, 24000)
    for inputs, message in (
        (["absent.wav"], "absent.wav: no such file or directory"),
        (["absent.scp"], "absent.scp: no such wav.scp"),
        (["empty"], "empty: no audio files in this directory"),
        (["a.wav", "a.flac"], r"a.wav and .*a.flac would both be utterance a"),
        ([], "no input"),
    ):
        with pytest.raises(SiTokError, match=message):
            collect_inputs([tmp_path / name for name in inputs])


def test_another_rate_is_refused_or_converted_on_request(tmp_path, wav):
    soundfile.write(tmp_path / "a.wav", wav, 16000)
    item = AudioInput("utt7", str(tmp_path / "a.wav"))
    with pytest.raises(SiTokError, match=f"utterance utt7: {tmp_path}/a.wav has 16000 Hz.*24000 Hz.*--resample"):
        load_at_rate(item, 24000)
    np.testing.assert_array_equal(load_at_rate(item, 24000, resample=True), resample(item.read()[0], 16000, 24000))
    assert load_at_rate(item, 16000).shape == wav.shape
