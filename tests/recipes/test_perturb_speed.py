"""Training speech faster and slower: audio, names, lists."""

import numpy as np
import pytest
import soundfile
from perturb_speed import main
from recipe_files import read_table, write_data_dir, write_table

RATE = 24000


@pytest.fixture
def data(tmp_path):
    """A tone of 1,000 Hz and one of 2,000 Hz by two speakers, one of them silent about it."""
    folder, wavs = tmp_path / "train", {}
    folder.mkdir()
    for name, hertz in (("ann-1", 1000), ("bob-1", 2000)):
        wavs[name] = str(folder / f"{name}.wav")
        soundfile.write(wavs[name], 0.5 * np.sin(2 * np.pi * hertz * np.arange(12000) / RATE), RATE)
    write_table(folder / "utt2num_samples", dict.fromkeys(wavs, 12000))
    speakers, languages = {"ann-1": "ann", "bob-1": "bob"}, {"ann-1": "en", "bob-1": "fr"}
    write_data_dir(folder, wavs, speakers, text={"ann-1": "one thousand", "bob-1": ""}, utt2lang=languages)
    return folder


def peak(path) -> float:
    wav, rate = soundfile.read(path)
    assert rate == RATE
    spectrum = np.abs(np.fft.rfft(wav[1000:9000] * np.hanning(8000)))
    return spectrum.argmax() * rate / 8000


@pytest.mark.parametrize("factor", ["0.9", "1.25"])
def test_speed_and_pitch_change_and_the_voice_is_another_one(data, tmp_path, factor):
    out = tmp_path / "changed"
    main(["--data_dir", str(data), "--factor", factor, "--out_dir", str(out), "--nj", "2"])
    ann, bob = f"sp{factor}-ann-1", f"sp{factor}-bob-1"
    assert read_table(out / "utt2spk") == {ann: f"sp{factor}-ann", bob: f"sp{factor}-bob"}
    assert read_table(out / "spk2utt") == {f"sp{factor}-ann": ann, f"sp{factor}-bob": bob}
    assert read_table(out / "text", allow_empty_value=True) == {ann: "one thousand", bob: ""}
    assert read_table(out / "utt2lang") == {ann: "en", bob: "fr"}
    wavs, counts = read_table(out / "wav.scp"), read_table(out / "utt2num_samples")
    for utt, hertz in ((ann, 1000), (bob, 2000)):
        assert abs(peak(wavs[utt]) - hertz * float(factor)) <= 3  # a bin of the spectrum
        assert soundfile.info(wavs[utt]).frames == int(counts[utt])
        assert abs(int(counts[utt]) - 12000 / float(factor)) <= 1


def test_what_is_not_there_is_not_invented(data, tmp_path):
    for name in ("text", "utt2lang"):
        (data / name).unlink()
    main(["--data_dir", str(data), "--factor", "0.95", "--out_dir", str(tmp_path / "out")])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "audio",
        "made_from",
        "spk2utt",
        "utt2num_samples",
        "utt2spk",
        "wav.scp",
    ]


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        ("0.4", "from 0.5 to 2, not 0.4"),
        ("0.955", "at most two decimals.*0.955"),
        ("1", "as 0.9, not '1'"),  # changes nothing
        ("1.00", "as 0.9, not '1.00'"),
        ("0.90", "without zeros at the end"),  # the same audio under another name
        (".9", "as 0.9, not '.9'"),
        ("9/10", "as 0.9, not '9/10'"),
        ("slow", "as 0.9, not 'slow'"),
    ],
)
def test_factors_that_are_refused(data, tmp_path, factor, message):
    with pytest.raises(SystemExit, match=message):
        main(["--data_dir", str(data), "--factor", factor, "--out_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_broken_file_is_named_and_leaves_nothing_that_looks_finished(data, tmp_path):
    out = tmp_path / "out"
    main(["--data_dir", str(data), "--factor", "0.9", "--out_dir", str(out)])
    (data / "bob-1.wav").write_bytes(b"RIFF")
    write_table(data / "text", {"ann-1": "another text", "bob-1": ""})
    with pytest.raises(SystemExit, match="bob-1"):
        main(["--data_dir", str(data), "--factor", "0.9", "--out_dir", str(out)])
    assert not (out / "wav.scp").exists()


def test_it_is_made_again_only_where_something_changed(data, tmp_path):
    out = tmp_path / "out"
    command = ["--data_dir", str(data), "--factor", "0.9", "--out_dir", str(out)]
    main(command)
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    main(command)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == made
    write_table(data / "text", {"ann-1": "another text", "bob-1": ""})
    main(command)
    assert read_table(out / "text", allow_empty_value=True)["sp0.9-ann-1"] == "another text"
    for name in ("wav.scp", "utt2spk", "utt2num_samples", "text", "utt2lang"):
        table = read_table(data / name, allow_empty_value=True)
        write_table(data / name, {"ann-1": table["ann-1"]})
    main(command)
    assert [path.name for path in (out / "audio").iterdir()] == ["sp0.9-ann-1.flac"]
    assert list(read_table(out / "wav.scp")) == ["sp0.9-ann-1"]
