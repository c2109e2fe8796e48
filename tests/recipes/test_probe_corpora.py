"""Corpora of the probe recipes from miniature trees that look like the real ones, and from broken ones."""

import json
from pathlib import Path

import numpy as np
import prepare_iemocap
import prepare_librispeech
import prepare_speechcommands
import prepare_voxceleb1
import pytest
import soundfile
from check_data_dir import check
from probe_sets import ProbeCorpus, TaskSets, run_preparation
from recipe_files import read_table

from sitok_espnet.errors import SiTokError

PREPARE = {
    "librispeech": (prepare_librispeech.prepare, None),
    "iemocap": (prepare_iemocap.prepare, None),
    "voxceleb1": (prepare_voxceleb1.prepare, None),
    "speechcommands": (prepare_speechcommands.prepare, prepare_speechcommands.more_options),
}


def audio(path: Path, seconds: float = 0.1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.ones(int(16000 * seconds)), 16000, subtype="PCM_16")


def librispeech(root: Path) -> None:
    for name, speaker in (("train-clean-100", 103), ("dev-clean", 84), ("test-clean", 61)):
        chapter = root / name / str(speaker) / "1240"
        for number in range(2):
            audio(chapter / f"{speaker}-1240-{number:04d}.flac")
        lines = f"{speaker}-1240-0000 CHAPTER ONE\n{speaker}-1240-0001 MISSUS LYNDE'S HOUSE\n"
        (chapter / f"{speaker}-1240.trans.txt").write_text(lines)
    (root / "SPEAKERS.TXT").write_text("; ID |SEX|\n")


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\t{0}_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\t{0}_F001\texc\t[4.0000, 3.5000, 3.5000]
[14.8872 - 18.0175]\t{0}_M000\tang\t[1.5000, 4.0000, 4.5000]
[19.2900 - 20.7875]\t{0}_M001\tsad\t[2.0000, 2.0000, 2.0000]
[21.3257 - 24.7400]\t{0}_M002\thap\t[4.0000, 3.5000, 3.5000]
[25.3257 - 26.7400]\t{0}_M003\txxx\t[2.5000, 3.0000, 3.5000]
"""


def iemocap(root: Path) -> None:
    for number in range(1, 6):
        dialog, session = f"Ses0{number}F_impro01", root / f"Session{number}"
        evaluation = session / f"dialog/EmoEvaluation/{dialog}.txt"
        evaluation.parent.mkdir(parents=True)
        evaluation.write_text(EVALUATION.format(dialog))
        (evaluation.parent / f"._{dialog}.txt").write_bytes(b"\x00\x05\x16\x07[")  # what macOS leaves
        (evaluation.parent / "Categorical").mkdir()
        for turn in ("F000", "F001", "M000", "M001", "M002", "M003"):
            audio(session / f"sentences/wav/{dialog}/{dialog}_{turn}.wav")


def voxceleb1(root: Path) -> None:
    for speaker in ("id10001", "id10002", "id10270", "id10300"):
        for video in ("1zcIwhmdeo4", "-7gTq1gLjcM"):
            for number in (1, 2):
                audio(root / f"wav/{speaker}/{video}/{number:05d}.wav")
    a, b = "id10270/1zcIwhmdeo4", "id10300/-7gTq1gLjcM"
    trials = f"1 {a}/00001.wav {a}/00002.wav\n0 {a}/00001.wav {b}/00001.wav\n1 {b}/00001.wav {b}/00002.wav\n"
    (root / "veri_test2.txt").write_text(trials)
    (root / "veri_test.txt").write_text("not read where the cleaned list is there\n")


def speechcommands(root: Path) -> None:
    words = sorted(prepare_speechcommands.COMMANDS | prepare_speechcommands.OTHERS)
    for word in words:
        for speaker in ("0a2b400e", "1b4c9b89", "c50f55b8"):
            for take in (0, 1):
                audio(root / word / f"{speaker}_nohash_{take}.wav")
    audio(root / "_background_noise_/running_tap.wav", 12.0)
    (root / "_background_noise_/README.md").write_text("Creative Commons\n")
    for name, speaker in (("validation_list", "1b4c9b89"), ("testing_list", "c50f55b8")):
        (root / f"{name}.txt").write_text("".join(f"{w}/{speaker}_nohash_{t}.wav\n" for w in words for t in (0, 1)))


TREES = {f.__name__: f for f in (librispeech, iemocap, voxceleb1, speechcommands)}


def run(name: str, tmp_path: Path, *options: str) -> Path:
    """The preparation's command line on `tmp_path/corpus`; its data folder."""
    prepare, more = PREPARE[name]
    words = ["--downloads", str(tmp_path / "corpus"), "--data_dir", str(tmp_path / "data"), "--partial", "true"]
    run_preparation("", prepare, more, [*words, *options])
    return tmp_path / "data"


@pytest.fixture(params=TREES)
def corpus(request, tmp_path) -> str:
    TREES[request.param](tmp_path / "corpus")
    return request.param


def targets(data: Path, task: str) -> dict[str, dict[str, str]]:
    return {phase: read_table(data / f"tasks/{task}/{phase}/target") for phase in ("train", "valid", "test")}


def test_every_corpus_gives_a_good_pool_and_the_same_again(corpus, tmp_path, capsys):
    data = run(corpus, tmp_path)
    assert check(data / "pool") == len(read_table(data / "pool/wav.scp"))
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("PARTIAL: ")]
    assert said and set(said) <= set((data / "PREPARATION.txt").read_text().splitlines())
    notes = [json.loads(path.read_text())["note"] for path in data.glob("tasks/*/task.json")]
    assert notes and all(f"{line}." in note for line in said for note in notes)
    assert all(Path(path).is_absolute() or path.startswith(str(tmp_path)) for path in
               read_table(data / "pool/wav.scp").values())  # fmt: skip
    first = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    run(corpus, tmp_path)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == first


def test_a_part_must_be_asked_for(corpus, tmp_path):
    with pytest.raises(SystemExit, match="the whole corpus has .*--partial true"):
        run(corpus, tmp_path, "--partial", "false")
    assert not (tmp_path / "data/pool").exists()


def test_a_missing_corpus_names_the_option(corpus, tmp_path):
    (tmp_path / "corpus").rename(tmp_path / "elsewhere")
    with pytest.raises(SystemExit, match=f"does not exist: .*{corpus.upper()}"):
        run(corpus, tmp_path)


def test_librispeech(tmp_path):
    librispeech(tmp_path / "corpus")
    data = run("librispeech", tmp_path)
    assert targets(data, "asr_ctc") == targets(data, "asr_lm")
    assert targets(data, "asr_lm")["valid"] == {"84-1240-0000": "CHAPTER ONE", "84-1240-0001": "MISSUS LYNDE'S HOUSE"}
    assert read_table(data / "pool/utt2spk")["103-1240-0001"] == "103"
    (tmp_path / "corpus/dev-clean/84/1240/84-1240-0001.flac").unlink()
    with pytest.raises(SystemExit, match="84-1240-0001.flac is missing.*copy dev-clean again"):
        run("librispeech", tmp_path)
    path = tmp_path / "corpus/dev-clean/84/1240/84-1240.trans.txt"
    path.write_text("85-1240-0000 OF ANOTHER\n")
    with pytest.raises(SystemExit, match="84-1240.trans.txt:1: expected an id of this chapter"):
        run("librispeech", tmp_path)


def test_iemocap_folds_share_no_speaker(tmp_path, capsys):
    iemocap(tmp_path / "corpus")
    data = run("iemocap", tmp_path)
    out = capsys.readouterr().out
    assert "5 anger, 10 happiness, 5 neutral, 5 sadness" in out and "left out: 5 xxx" in out
    tested = []
    for fold in range(1, 6):
        sets = targets(data, f"emotion_fold{fold}")
        sessions = {phase: {utt[:5] for utt in members} for phase, members in sets.items()}
        assert sessions["test"] == {f"Ses0{fold}"} and sessions["valid"] == {f"Ses0{fold % 5 + 1}"}
        assert len(sessions["train"]) == 3 and not sessions["train"] & (sessions["test"] | sessions["valid"])
        tested += sets["test"]
        assert json.loads((data / f"tasks/emotion_fold{fold}/task.json").read_text())["group"] == "emotion"
    assert len(tested) == len(set(tested)) == 25
    speakers = read_table(data / "pool/utt2spk")
    turn = next(utt for utt in speakers if utt.endswith("Ses03F_impro01_M001"))
    assert speakers[turn] == "Ses03M"  # who speaks, not whose session it is
    assert targets(data, "emotion_fold3")["test"][turn] == "sadness"


def test_iemocap_lines_that_cannot_be_read(tmp_path):
    iemocap(tmp_path / "corpus")
    path = tmp_path / "corpus/Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    for broken, message in ((path.read_text().replace("\tang\t", " ang "), "not a turn"),
                            (path.read_text().replace("ang", "bor"), "unknown emotion 'bor'")):  # fmt: skip
        path.write_text(broken)
        with pytest.raises(SystemExit, match=message):
            run("iemocap", tmp_path)
        path.write_text(EVALUATION.format("Ses02F_impro01"))
    (tmp_path / "corpus/Session4/sentences/wav/Ses04F_impro01/Ses04F_impro01_M001.wav").unlink()
    with pytest.raises(SystemExit, match="M001.wav is missing.*copy Session4 again"):
        run("iemocap", tmp_path)


def test_voxceleb_trials_and_unseen_speakers(tmp_path):
    voxceleb1(tmp_path / "corpus")
    data = run("voxceleb1", tmp_path)
    sets = targets(data, "speaker_verification")
    assert set(sets["train"].values()) == set(sets["valid"].values()) == {"id10001", "id10002"}
    assert set(sets["test"].values()) == {"id10270", "id10300"}
    for speaker in ("id10001", "id10002"):  # one video validates, as a whole
        videos = [{utt[:-6] for utt, s in sets[phase].items() if s == speaker} for phase in ("train", "valid")]
        assert len(videos[0]) == len(videos[1]) == 1 and videos[0] != videos[1]
    trials = (data / "tasks/speaker_verification/trials").read_text().splitlines()
    assert trials[1] == "id10270-1zcIwhmdeo4-00001 id10300--7gTq1gLjcM-00001 nontarget" and len(trials) == 3


@pytest.mark.parametrize(
    "line, message",
    [
        ("1 id10270/1zcIwhmdeo4/00001.wav id10300/-7gTq1gLjcM/00001.wav", "says 1 of"),
        ("1 id10270/1zcIwhmdeo4/00001.wav", "expected `1|0 FILE FILE`"),
        ("1 id10270/1zcIwhmdeo4/00001.wav id10270/1zcIwhmdeo4/00009.wav", "names 1 recordings that are not there"),
    ],
)
def test_voxceleb_lists_that_are_wrong(line, message, tmp_path):
    voxceleb1(tmp_path / "corpus")
    with open(tmp_path / "corpus/veri_test2.txt", "a") as file:
        file.write(line + "\n")
    with pytest.raises(SystemExit, match=message.replace("|", r"\|")):
        run("voxceleb1", tmp_path)


def test_voxceleb_as_the_archives_unpack(tmp_path):
    root = tmp_path / "corpus"
    voxceleb1(root)
    for part, speakers in (("dev", ("id10001", "id10002")), ("test", ("id10270", "id10300"))):
        (root / part / "wav").mkdir(parents=True)
        for speaker in speakers:
            (root / "wav" / speaker).rename(root / part / "wav" / speaker)
    (root / "wav").rmdir()
    assert len(targets(run("voxceleb1", tmp_path), "speaker_verification")["train"]) == 4
    (root / "veri_test.txt").unlink()
    (root / "veri_test2.txt").unlink()
    with pytest.raises(SystemExit, match="not the whole corpus.*veri_test2.txt or veri_test.txt"):
        run("voxceleb1", tmp_path)


def test_speech_commands_of_12_classes(tmp_path):
    speechcommands(tmp_path / "corpus")
    data = run("speechcommands", tmp_path)
    for phase, speaker in (("train", "0a2b400e"), ("valid", "1b4c9b89"), ("test", "c50f55b8")):
        members = targets(data, "keyword")[phase]
        counts = {label: list(members.values()).count(label) for label in set(members.values())}
        assert counts == {**dict.fromkeys(prepare_speechcommands.COMMANDS, 2), "unknown": 2, "silence": 2}
        assert {utt[:8] for utt in members if not utt.startswith("noise")} == {speaker}
    scp = read_table(data / "pool/wav.scp")
    silence = {utt: soundfile.info(path).frames for utt, path in scp.items() if utt.startswith("noise")}
    assert set(silence.values()) == {16000} and len(silence) == 6


def test_silence_of_different_sets_never_overlaps(tmp_path):
    rate, path = 16000, tmp_path / "_background_noise_/ramp.wav"
    path.parent.mkdir()
    soundfile.write(path, np.linspace(-0.9, 0.9, 30 * rate), rate, subtype="PCM_16")  # tells where a piece is from
    ends = {}
    for phase in ("train", "valid", "test"):
        pieces = [soundfile.read(p)[0] for p, _ in prepare_speechcommands.cut_silence(path.parent, tmp_path, phase, 9)]
        assert all(len(piece) == rate for piece in pieces)
        ends[phase] = min(map(min, pieces)), max(map(max, pieces))
    assert ends["train"][1] <= ends["valid"][0] and ends["valid"][1] <= ends["test"][0]


def test_speech_commands_of_35_classes_and_broken(tmp_path):
    speechcommands(tmp_path / "corpus")
    members = targets(run("speechcommands", tmp_path, "--classes", "35"), "keyword")
    assert all(len(set(part.values())) == 35 and len(part) == 70 for part in members.values())
    (tmp_path / "corpus/visual/c50f55b8_nohash_1.wav").unlink()
    with pytest.raises(SystemExit, match="testing_list.txt names 1 files.*visual/c50f55b8_nohash_1.wav"):
        run("speechcommands", tmp_path)


def test_what_the_pool_refuses(tmp_path):
    corpus = ProbeCorpus()
    corpus.add("s-a", "a.wav", "s")
    with pytest.raises(SiTokError, match="two recordings would get the id s-a"):
        corpus.add("s-a", "b.wav", "s")
    for sets, message in (
        ({"train": {"s-a": "x"}, "valid": {}, "test": {"s-a": "x"}}, "valid set is empty"),
        ({"train": {"s-a": "x"}, "valid": {"s-a": "x"}, "test": {"s-a": "x"}}, "in its sets train and valid"),
        ({"train": {"s-b": "x"}, "valid": {"s-a": "x"}, "test": {"s-a": "x"}}, "s-b of its train set has no audio"),
        ({"train": {"s-a": " "}, "valid": {"s-a": "x"}, "test": {"s-a": "x"}}, "no target"),
    ):
        corpus.tasks = {"t": TaskSets("language", sets=sets)}
        with pytest.raises(SiTokError, match=message):
            corpus.write(tmp_path)
