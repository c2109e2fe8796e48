"""The table from answers that were written by hand: pooling, choices and verdicts against counted ones."""

import json
from pathlib import Path

import pytest
from probe_data import write_task

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import write_json
from sitok_espnet.probes.card import InputCard
from sitok_espnet.probes.plan import DONE, Places, ProbeJob, plan
from sitok_espnet.probes.results import build_results
from sitok_espnet.probes.scoring import ANSWERS, SUMMARY, score_state
from sitok_espnet.probes.table import render

INPUTS = ("mel", "tokens", "continuous")
SIZES = {"mel": (), "tokens": (8, 4), "continuous": ()}


def make_places(root: Path, folds: int = 1, tested: int = 40, probes: tuple[str, ...] = ("one",), **about) -> Places:
    """Tasks fold1, fold2, ... of one group, two labels in turn; cards of the inputs; empty YAMLs."""
    for fold in range(1, folds + 1):
        sets = {
            phase: {f"f{fold}-{phase}{n:03d}": "ab"[n % 2] for n in range(count)}
            for phase, count in (("train", 5), ("valid", 4), ("test", tested))
        }
        write_task(root / f"tasks/fold{fold}", "language", sets, group="pooled", **about)
    for name in INPUTS:
        (root / "feats" / name).mkdir(parents=True)
        InputCard(name, 2, "25", "model", "codes", 1, SIZES[name]).write(root / "feats" / name)
    (root / "conf").mkdir()
    for probe in probes:
        (root / f"conf/{probe}.yaml").write_text("")
    return Places(root / "tasks", root / "feats", (root / "conf",), root / "exp")


def write_score(job: ProbeJob, right: int, valid_error: float = 0.0) -> None:
    """The first ``right`` test utterances are answered rightly, the others wrongly."""
    job.folder.mkdir(parents=True)
    (job.folder / DONE).touch()
    answers = [
        {"utterance": utt, "expected": label, "answered": label if n < right else "ba"["ab".index(label)]}
        for n, (utt, label) in enumerate(sorted(job.task.targets("test").items()))
    ]
    (job.folder / ANSWERS).write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    sizes = {"parameters": 10, "adapter_parameters": 2}
    write_json(job.folder / SUMMARY, {**score_state(job), "valid_error": valid_error, **sizes})


def test_every_fold_chooses_by_its_own_validation_set(tmp_path):
    places = make_places(tmp_path, folds=2, probes=("one", "two"))
    jobs = plan(places, ["fold1", "fold2"], ["mel"], ["one", "two"])
    right = {("fold1", "one"): 30, ("fold1", "two"): 40, ("fold2", "one"): 38, ("fold2", "two"): 10}
    # Fold 1 prefers "one", fold 2 "two"; the mean over both folds would prefer "one".
    errors = {("fold1", "one"): 0.1, ("fold1", "two"): 0.3, ("fold2", "one"): 0.3, ("fold2", "two"): 0.2}
    for job in jobs:
        key = job.task.name, job.probe
        write_score(job, right[key], errors[key])
    results = build_results(jobs, 50)
    cell = results["tasks"]["pooled"]["inputs"]["mel"]
    assert cell["chosen"] == {"fold1": "one", "fold2": "two"}
    assert cell["value"] == pytest.approx((30 + 10) / 80) and cell["count"] == 80
    assert cell["valid_error"] == pytest.approx((0.1 + 0.2) / 2)
    assert cell["probe"] == "one (1 of 2 folds), two (1 of 2 folds)"
    assert cell["probes"]["one"]["value"] == pytest.approx((30 + 38) / 80)
    assert cell["probes"]["two"]["value"] == pytest.approx((40 + 10) / 80)
    assert "one (chosen in 1 of 2 folds)" in render(results)


def test_an_utterance_is_tested_once(tmp_path):
    places = make_places(tmp_path, folds=2)
    table = places.tasks / "fold2/test/target"
    table.write_text(table.read_text() + "f1-test000 a\n")
    jobs = plan(places, ["fold1", "fold2"], ["mel"], ["one"])
    for job in jobs:
        write_score(job, 20)
    with pytest.raises(SiTokError, match="f1-test000 is tested by two tasks of one group: fold1, fold2"):
        build_results(jobs, 50)
