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


def scored(root: Path, right: dict[str, tuple[int, ...]]) -> dict:
    """The task's results of one fold for every number of right answers of 40."""
    folds = len(next(iter(right.values())))
    jobs = plan(make_places(root, folds), [f"fold{n + 1}" for n in range(folds)], list(right), ["one"])
    for job in jobs:
        write_score(job, right[job.input][int(job.task.name[-1]) - 1])
    return build_results(jobs, 200)


@pytest.mark.parametrize(
    "mel, tokens, continuous, order",
    [
        (10, 20, 35, "tokens are better than mel and worse than the continuous bound (paired differences, p < 0.05): "
                     "they lie between the two"),
        (35, 20, 10, "tokens are worse than mel and better than the continuous bound (paired differences, p < 0.05): "
                     "the encoder's output is worse than mel here"),
        (40, 20, 40, "tokens are worse than mel and worse than the continuous bound"),
        (10, 30, 12, "tokens are better than mel and better than the continuous bound"),
        (20, 20, 20, "tokens are not distinguishable from mel and not distinguishable from the continuous bound"),
        (20, 21, 22, "tokens are not distinguishable from mel and not distinguishable from the continuous bound"),
        (10, 30, 31, "tokens are better than mel and not distinguishable from the continuous bound"),
    ],
)  # fmt: skip
def test_the_verdict_is_that_of_the_paired_differences(mel, tokens, continuous, order, tmp_path):
    results = scored(tmp_path, {"mel": (mel,), "tokens": (tokens,), "continuous": (continuous,)})
    task = results["tasks"]["pooled"]
    assert task["order"].removesuffix(" (paired differences, p < 0.05)") == order
    assert task["differences"]["tokens - mel"]["value"] == pytest.approx((tokens - mel) / 40)
    assert task["differences"]["continuous - tokens"]["value"] == pytest.approx((continuous - tokens) / 40)
    assert order in render(results)


def test_all_folds_count(tmp_path):
    """The first fold alone would say the opposite of both."""
    results = scored(tmp_path, {"mel": (25, 5), "tokens": (20, 40), "continuous": (10, 40)})
    task = results["tasks"]["pooled"]
    values = {source: cell["value"] for source, cell in task["inputs"].items()}
    assert values == pytest.approx({"mel": 30 / 80, "tokens": 60 / 80, "continuous": 50 / 80})
    assert task["order"].startswith("tokens are better than mel and better than the continuous bound")
    assert task["differences"]["tokens - mel"]["value"] == pytest.approx(30 / 80)
    assert task["differences"]["tokens - mel"]["count"] == 80 and task["folds"] == 2
    assert task["utterances"] == {"train": 10, "valid": 8, "test": 80}


def test_no_verdict_without_the_bound(tmp_path):
    assert scored(tmp_path, {"mel": (10,), "tokens": (20,)})["tasks"]["pooled"]["order"] == ""


@pytest.mark.parametrize("key, value", [("model_hash", "another"), ("frame_rate", "25/2")])
def test_inputs_of_two_tokenizers_are_refused(key, value, tmp_path):
    places = make_places(tmp_path)
    card = places.features / "continuous/input.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), key: value}))
    assert len(plan(places, ["fold1"], ["mel", "tokens"], ["one"])) == 2
    with pytest.raises(SiTokError, match=f"mel and continuous are not of one tokenizer: {key} .* and {value}"):
        plan(places, ["fold1"], INPUTS, ["one"])
