"""Stage 3 of the probe recipes, and what their folders must have."""

import json
from pathlib import Path

import pytest
from probe_targets import main
from recipe_files import read_table, write_table
from stand_in_recipe import ROOT

LABELS = {"train": {"a": "x", "b": "y"}, "valid": {"c": "x"}, "test": {"d": "y"}}


def make(root: Path, kind: str = "language", sets=LABELS, there="abcd", trials: str = "") -> Path:
    for phase, members in sets.items():
        write_table(root / f"data/{phase}/target", members)
    (root / "data/task.json").write_text(json.dumps({"kind": kind}))
    if trials:
        (root / "data/trials").write_text(trials)
    write_table(root / "pool/utt2num_samples", dict.fromkeys(there, 24000))
    return root


def run(root: Path, *more: str) -> None:
    main([*("--task_dir", str(root / "data"), "--pool_dir", str(root / "pool")), "--out_dir", str(root / "out"), *more])


def test_labels_are_listed_and_dropped_utterances_counted(tmp_path, capsys):
    sets = {**LABELS, "train": {"a": "y", "b": "x", "e": "x"}}
    run(make(tmp_path, sets=sets))
    captured = capsys.readouterr()
    assert captured.out == "label\n" and "1 left out by stage 2" in captured.err
    assert (tmp_path / "out/targets.txt").read_text() == "x\ny\n"
    assert read_table(tmp_path / "out/train/target") == {"a": "y", "b": "x"}


def test_texts_are_normalised_and_their_pieces_taken_over(tmp_path, capsys):
    texts = {"train": {"a": "MISSUS LYNDE'S", "b": "Two-3"}, "valid": {"c": "A"}, "test": {"d": "B!"}}
    run(make(tmp_path, "asr_ctc", texts))
    assert capsys.readouterr().out == "text\n"
    assert read_table(tmp_path / "out/train/text") == {"a": "missus lynde's", "b": "two three"}
    assert read_table(tmp_path / "out/test/target") == {"d": "b"}
    assert not (tmp_path / "out/targets.txt").exists()  # unfinished without pieces
    for name, content in (("bpe.model", "model"), ("tokens.txt", "<blank>\n<unk>\na\n<sos/eos>\n")):
        (tmp_path / "out/pieces").mkdir(exist_ok=True)
        (tmp_path / "out/pieces" / name).write_text(content)
    main(["--out_dir", str(tmp_path / "out"), "--finish"])
    assert (tmp_path / "out/targets.txt").read_text() == "<blank>\n<unk>\na\n<sos/eos>\n"
    assert (tmp_path / "out/bpe.model").read_text() == "model"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sets": {**LABELS, "test": {"d": "z"}}}, "label 'z' is not in the training set"),
        ({"sets": {**LABELS, "train": {"a": "x", "b": "x"}}}, "one label"),
        ({"kind": "mood"}, "no such kind of task: 'mood'"),
        ({"kind": "speaker_verification"}, "verification needs trials"),
        ({"there": "abc"}, "test: no utterance is left"),
    ],
)
def test_what_is_wrong_is_named(changes, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        run(make(tmp_path, **changes))
    assert not (tmp_path / "out/targets.txt").exists()


def test_verification_tests_speakers_that_were_not_trained_on(tmp_path):
    run(make(tmp_path, "speaker_verification", {**LABELS, "test": {"d": "z"}}, trials="d d target\n"))
    assert (tmp_path / "out/trials").read_text() == "d d target\n"


def test_every_probe_recipe_is_complete_and_links_to_the_template():
    recipes = sorted(path for path in ROOT.glob("egs2/*/sitok_probe1") if path.parent.name != "TEMPLATE")
    assert {path.parent.name for path in recipes} == {
        "asterisk", "iemocap", "librispeech", "speechcommands", "voxceleb1",
    }  # fmt: skip
    for recipe in recipes:
        assert (recipe / "sitok_probe.sh").resolve() == ROOT / "egs2/TEMPLATE/sitok_probe1/sitok_probe.sh"
        for name in ("cmd.sh", "path.sh"):
            assert (recipe / name).resolve() == ROOT / "egs2/TEMPLATE/sitok1" / name
        for name in ("run.sh", "local/data.sh", "db.sh", "README.md"):
            assert (recipe / name).is_file()
        assert all((recipe / name).stat().st_mode & 0o111 for name in ("run.sh", "local/data.sh"))
