"""What the report page gathers, and what it refuses."""

import shutil

import pytest
from eval_dir import (
    SYSTEMS,
    TEXTS,
    make_eval_dir,
)
from page_reader import Document

from sitok_espnet.bin.main import main
from sitok_espnet.evaluate.page.collect import collect
from sitok_espnet.evaluate.page.render import render_page


def test_an_experiment_is_collected_whole(experiment, probe_dir):
    found = collect([experiment, probe_dir], 2)
    (evaluation,), (training,) = found.evaluations, found.experiments
    assert (evaluation.system, evaluation.name) == ("sitok_tiny", "test") and evaluation.steps
    assert [count.tolist() for count in evaluation.counts] == [[8, 0, 8, 0, 7, 0, 7, 0], [0, 15, 0, 15, 0, 0, 0, 0]]
    assert len(evaluation.utterances) == 2
    for utterance in evaluation.utterances:
        assert utterance.text == TEXTS[utterance.name]
        assert [take.row for take in utterance.takes] == list(SYSTEMS)  # not the row that was not run
        assert all(take.audio and not take.missing for take in utterance.takes)
    assert training.command == "python3 -m sitok_espnet.bin.sitok_train --seed 7"
    assert training.config == "seed: 7\ntoken_list:\n# 3 text pieces\nencoder: llama"
    assert sorted(training.curves.train) == ["loss", "loss_ctc", "loss_scale", "optim0_lr0"]
    assert len(found.probes) == 1


def test_utterances_are_shared_among_the_sets(experiment, tmp_path):
    for name in ("de", "en", "fr"):
        shutil.copytree(experiment / "eval" / "test", tmp_path / "exp" / "eval" / name)
    for wanted, shares in ((0, [0, 0, 0]), (1, [1, 1, 1]), (5, [2, 2, 1]), (9, [3, 3, 3]), (99, [3, 3, 3])):
        found = collect([tmp_path / "exp"], wanted)
        assert [item.name for item in found.evaluations] == ["de", "en", "fr"]
        assert [len(item.utterances) for item in found.evaluations] == shares
    assert found.experiments == ()  # no training here


def test_a_moved_evaluation_plays_its_own_audio(experiment, tmp_path):
    moved = shutil.copytree(experiment / "eval" / "test", tmp_path / "moved")
    (evaluation,) = collect([moved], 1).evaluations
    for take in evaluation.utterances[0].takes:
        assert take.audio.location == str(moved / take.row / "wav" / f"{evaluation.utterances[0].name}.wav")
    assert evaluation.system == "moved"


def test_missing_audio_is_said(tmp_path):
    folder = make_eval_dir(tmp_path / "eval")
    shutil.rmtree(folder / "copy_synthesis")
    for path in (folder / "mean_mel" / "wav").iterdir():
        path.unlink()
    (evaluation,) = collect([folder], 1).evaluations
    missing = {take.row: take.missing for take in evaluation.utterances[0].takes if take.missing}
    assert set(missing) == {"copy_synthesis", "mean_mel"} and "no audio of spk1-" in missing["mean_mel"]
    text = Document(render_page(collect([folder], 1))).text
    assert f"{missing['copy_synthesis']} " in text
    shutil.rmtree(folder / "original")  # the first row that has audio takes its place
    (evaluation,) = collect([folder, folder / "results.json"], 1).evaluations
    assert len(evaluation.utterances) == 1 and any(take.audio for take in evaluation.utterances[0].takes)
    for path in folder.glob("*/wav.scp"):
        path.unlink()
    text = Document(render_page(collect([folder], 1))).text
    assert f"Nothing to listen to: there is no audio in {folder / 'original'} nor of the other systems." in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no results.json here and none in eval/*/"),
        ("{", "is not valid JSON"),
        ('{"other": 1}', "has neither systems nor probe tasks"),
        ("[]", "has neither systems nor probe tasks"),
    ],
)
def test_what_is_no_evaluation_is_refused(content, message, tmp_path, capsys):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and str(tmp_path) in error and "Traceback" not in error
    assert not (tmp_path / "report.html").exists()


def test_bad_options(experiment, capsys):
    assert main(["report", str(experiment), "--utterances", "-1"]) == 2
    assert "--utterances must not be negative" in capsys.readouterr().err
