"""Game dialogue: texts from Lua scripts, speakers from fonts, recordings that are left out, clipping."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from check_data_dir import check
from prepare_fillets import find_recordings, identify, read_dialogs, unescape
from prepare_fillets import main as prepare_main
from recipe_files import read_table

from sitok_espnet.errors import SiTokError

GAME = "usr/share/games/fillets-ng"
RATE = 22050

CAVE = r"""
-- dialogId("old", "font_small", "A comment.")
-- dialogStr("Komentář.")
dialogId("c-m-hello", "font_small", "Good \"day\", big fish.")
dialogStr("Dobrý \"den\", velká rybo.")

dialogId("c-v-yes", "font_big",  "Three lines on two.")
dialogStr(
"Klávesa F2 je to.")
dialogId("c-x-crab", "font_crab", "It is me, the crab.")
dialogStr("To jsem já, krab.")
dialogId("c-b-we", "font_both", "We!")
dialogStr("My!")
dialogId("c-1", "", "")
dialogStr("")
dialogId("c-score", "font_big", "%1 points")
dialogStr("%1 bodů")
dialogId("c-silent", "font_big", "Never recorded.")
dialogStr("Bez nahrávky.")
dialogId("c-stereo", "font_big", "Another take.")
dialogStr("Jiná nahrávka tady.")
dialogId("c-empty", "font_big", "Nothing in it.")
dialogStr("Nic v tom není.")
"""
JOKES = 'dialogId("j-m-joke", "font_small", "A joke.")\ndialogStr("Tohle je vtip.")\n'


def write_ogg(path: Path, seconds=0.5, rate=RATE, channels=1, peak=0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = peak * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate, format="OGG", subtype="VORBIS")


@pytest.fixture
def tree(tmp_path):
    """Two levels and the shared jokes in Czech; one Dutch level in two channels."""
    root = tmp_path / "tree" / GAME
    for name, content in {
        "script/cave/dialogs_cs.lua": CAVE,
        "script/reef/dialogs_cs.lua": CAVE.replace("krab", "krab znovu"),
        "script/share/bore_dialogs_cs.lua": JOKES,
        "script/cave/dialogs_nl.lua": 'dialogId("c-m-hello", "font_small", "Hello.")\ndialogStr("Hallo, grote vis!")\n',
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    for name in ("c-m-hello", "c-v-yes", "c-x-crab", "c-b-we", "c-1", "c-score", "no-text"):
        write_ogg(root / f"sound/cave/cs/{name}.ogg")
    write_ogg(root / "sound/cave/cs/c-stereo.ogg", rate=44100, channels=2)
    write_ogg(root / "sound/cave/cs/c-empty.ogg", seconds=0)
    write_ogg(root / "sound/reef/cs/c-x-crab.ogg", peak=1.4)
    write_ogg(root / "sound/share/borejokes/cs/j-m-joke.ogg")
    write_ogg(root / "sound/cave/nl/c-m-hello.ogg", channels=2)
    return tmp_path / "tree"


def prepare(tree, *langs):
    root = tree.parent
    options = ["--tree", tree, "--audio_dir", root / "audio", "--data_dir", root / "data", "--langs", *langs]
    prepare_main([str(word) for word in [*options, "--test_size", 1, "--dev_size", 1]])
    return root / "data"


def everything(data, table):
    return {k: v for path in data.glob(f"*/{table}") for k, v in read_table(path).items()}


def test_texts_of_the_scripts(tree):
    lines = read_dialogs(tree, "cs")
    assert lines["cave", "c-m-hello"].text == 'Dobrý "den", velká rybo.' and lines["cave", "c-m-hello"].font == "small"
    assert lines["cave", "c-v-yes"].text == "Klávesa F2 je to." and ("cave", "old") not in lines
    assert lines["share", "j-m-joke"].text == "Tohle je vtip."
    assert len(lines) == 19
    assert unescape(r"C:\\WINDOWS\n\"x\"") == 'C:\\WINDOWS\n"x"'


def test_contradicting_texts_and_recordings_are_errors(tree):
    (tree / GAME / "script/share/more_dialogs_cs.lua").write_text(JOKES.replace("vtip", "omyl"))
    with pytest.raises(SiTokError, match="j-m-joke occurs twice in share"):
        read_dialogs(tree, "cs")
    write_ogg(tree / GAME / "sound/share/other/cs/j-m-joke.ogg")
    with pytest.raises(SiTokError, match="same name in the same level"):
        find_recordings(tree, "cs")


@pytest.mark.parametrize(
    "font, speaker, utterance",
    [
        ("small", "fillets-cs-small", "fillets-cs-small-cave-c-m-1"),
        ("big", "fillets-cs-big", "fillets-cs-big-cave-c-m-1"),
        ("crab", "fillets-cs-cave-crab", "fillets-cs-cave-crab-c-m-1"),
    ],
)
def test_speakers_come_from_fonts(font, speaker, utterance):
    assert identify("cs", "cave", "c_m-1", font) == (speaker, utterance)


def test_preparation_of_a_miniature_game(tree, capsys):
    data = prepare(tree, "cs")
    report = capsys.readouterr().out
    for line in (
        "1 left out: a recording without a text",
        "1 left out: a text that the game puts together",
        "9 left out: a text without a recording",
        "1 left out: an empty recording",
        "1 left out: another recording (44.1 kHz or stereo",
        "1 left out: no words in the text",
        "1 left out: two speakers at once",
        "in 1 of 5 recordings clipped at full scale",
    ):
        assert line in report, report
    assert everything(data, "text") == {
        "fillets-cs-small-cave-c-m-hello": "dobrý den velká rybo",
        "fillets-cs-big-cave-c-v-yes": "klávesa f dva je to",
        "fillets-cs-cave-crab-c-x-crab": "to jsem já krab",
        "fillets-cs-reef-crab-c-x-crab": "to jsem já krab znovu",
        "fillets-cs-small-share-j-m-joke": "tohle je vtip",
    }
    assert set(everything(data, "utt2lang").values()) == {"cs"}
    assert "GPL-2" in (data / "LICENSE.txt").read_text() and "fillets-ng-data-cs" in (data / "LICENSE.txt").read_text()
    for path in data.glob("*/wav.scp"):
        check(path.parent)
    wavs = everything(data, "wav.scp")
    source, _ = soundfile.read(tree / GAME / "sound/reef/cs/c-x-crab.ogg")
    kept, rate = soundfile.read(wavs["fillets-cs-reef-crab-c-x-crab"])
    assert rate == RATE and np.abs(source).max() > 1.2
    np.testing.assert_allclose(kept, np.clip(source, -1, 32767 / 32768), atol=2**-15)
    clipped = int((np.abs(source) > 1).sum())
    assert f"{clipped} samples (" in report


def test_dutch_has_a_test_set_of_its_own(tree):
    data = prepare(tree, "cs", "nl")
    assert sorted(path.parent.name for path in data.glob("*/wav.scp")) == ["dev", "test", "test_nl", "train"]
    assert read_table(data / "test_nl/text") == {"fillets-nl-small-cave-c-m-hello": "hallo grote vis"}
    assert everything(data, "utt2lang")["fillets-nl-small-cave-c-m-hello"] == "nl"
    source, _ = soundfile.read(tree / GAME / "sound/cave/nl/c-m-hello.ogg")
    kept, _ = soundfile.read(read_table(data / "test_nl/wav.scp")["fillets-nl-small-cave-c-m-hello"])
    assert source.shape[1] == 2
    np.testing.assert_allclose(kept, source.mean(axis=1), atol=2**-15)


def test_missing_packages_and_languages_are_named(tree):
    with pytest.raises(SystemExit, match="the languages of this corpus are cs, nl"):
        prepare(tree, "en")
    (tree / GAME / "sound").rename(tree / "elsewhere")
    with pytest.raises(SystemExit, match="fillets-ng-data and fillets-ng-data-cs are needed"):
        prepare(tree, "cs")


def test_damaged_recording_is_named(tree):
    (tree / GAME / "sound/cave/cs/c-m-hello.ogg").write_bytes(b"OggS, but no")
    with pytest.raises(SystemExit, match="c-m-hello.ogg"):
        prepare(tree, "cs")
    assert not (tree.parent / "data/train/wav.scp").exists()
