"""Training, scoring and the table on generated features: what can be learned is, what cannot is not."""

import json
import shutil

import numpy as np
import pytest
from probe_data import SIZES, write_codes, write_config, write_frames, write_task

from sitok_espnet.bin import probe_score, probe_sweep
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.verification import equal_error_rate
from sitok_espnet.probes.plan import Places, plan
from sitok_espnet.probes.results import build_results, macro_f1
from sitok_espnet.probes.scoring import read_answers, read_embeddings

LABELS = ("high", "low", "mid")


def make_features(rng, labels: dict[str, str], separable: bool):
    """Codes and frames whose distribution depends on the label, or does not."""
    codes, frames = {}, {}
    for utterance, label in labels.items():
        length, kind = int(rng.integers(5, 15)), LABELS.index(label) if separable else int(rng.integers(3))
        codes[utterance] = np.stack([2 * kind + rng.integers(0, 2, length), rng.integers(0, SIZES[1], length)], axis=1)
        frames[utterance] = rng.standard_normal((length, 5)) + 1.5 * np.eye(5)[kind]
    return codes, frames


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Places:
    """Three tasks: labels that features tell, the same ones shuffled, and speakers with trials."""
    root = tmp_path_factory.mktemp("sweep")
    rng = np.random.default_rng(0)
    labels = {f"u{n:03d}": LABELS[n % 3] for n in range(180)}
    codes, frames = make_features(rng, labels, separable=True)
    write_codes(root / "feats/tokens", codes)
    write_frames(root / "feats/mel", frames)
    write_frames(root / "feats/continuous", frames, "continuous")
    names = list(labels)
    shuffled = dict(zip(names, rng.permutation(list(labels.values())), strict=True))

    def split(table):
        parts = {"train": names[:100], "valid": names[100:120], "test": names[120:]}
        return {phase: {u: table[u] for u in part} for phase, part in parts.items()}

    write_task(root / "tasks/clear", "language", split(labels), note="Generated.")
    write_task(root / "tasks/shuffled", "language", split(shuffled))
    tested = names[120:]
    trials = [(a, b, labels[a] == labels[b]) for a in tested[:12] for b in tested[12:40]]
    write_task(root / "tasks/voices", "speaker_verification", split(labels), trials)
    write_config(root / "conf/one.yaml")
    write_config(
        root / "conf/two.yaml", "xvector", body_conf={"channels": 6, "pooled_channels": 6, "embedding_size": 6}
    )
    return Places(root / "tasks", root / "feats", (root / "conf",), root / "exp")


def options(places: Places, tasks: str, probes: str = "one", inputs: str = "tokens mel") -> list[str]:
    return [
        *("--tasks", *tasks.split(), "--probes", *probes.split(), "--inputs", *inputs.split()),
        *("--task_dir", str(places.tasks), "--feats_dir", str(places.features), "--expdir", str(places.experiments)),
        *("--conf_dirs", str(places.configs[0])),
    ]


@pytest.fixture(scope="module")
def results(places) -> dict:
    words = options(places, "clear shuffled voices", "one two")
    assert probe_sweep.main(words) == 0 and probe_score.main(words) == 0
    assert probe_score.main([*words, "--table", str(places.experiments / "probes"), "--resamples", "100"]) == 0
    return json.loads((places.experiments / "probes/results.json").read_text())


def test_what_can_be_learned_is_and_shuffled_labels_are_not(results):
    for source in ("tokens", "mel"):
        assert results["tasks"]["clear"]["inputs"][source]["value"] > 0.95
        shuffled = results["tasks"]["shuffled"]["inputs"][source]
        assert shuffled["value"] < 0.6 and shuffled["low"] < results["tasks"]["shuffled"]["chance"] + 0.1
        assert results["tasks"]["voices"]["inputs"][source]["value"] < 0.1


def test_values_are_those_of_the_answers(results, places):
    for source, cell in results["tasks"]["clear"]["inputs"].items():
        found = read_answers(places.experiments / f"probe_clear_{source}/{cell['probe']}")
        right = sum(a.answered == a.expected for a in found)
        assert cell["value"] == pytest.approx(right / 60) and cell["count"] == 60
        assert cell["low"] <= cell["value"] <= cell["high"]
        other = cell["probes"]["two" if cell["probe"] == "one" else "one"]
        assert other["valid_error"] >= cell["valid_error"]
    assert results["tasks"]["clear"]["chance"] == pytest.approx(1 / 3)


def test_equal_error_rate_is_that_of_cosines(results, places):
    cell = results["tasks"]["voices"]["inputs"]["mel"]
    vectors = read_embeddings(places.experiments / f"probe_voices_mel/{cell['probe']}")
    rows = [line.split() for line in (places.tasks / "voices/trials").read_text().splitlines()]
    unit = {u: v / np.linalg.norm(v) for u, v in vectors.items()}
    scores = np.array([unit[a] @ unit[b] for a, b, _ in rows])
    target = np.array([kind == "target" for *_, kind in rows])
    assert cell["value"] == pytest.approx(equal_error_rate(scores, target), abs=1e-6)
    # Independently: no threshold has both rates far from it, and one has both within a trial of each other.
    gaps = [abs((scores[target] < t).mean() - (scores[~target] >= t).mean()) for t in scores]
    best = scores[int(np.argmin(gaps))]
    both = ((scores[target] < best).mean(), (scores[~target] >= best).mean())
    assert min(both) - 0.02 <= cell["value"] <= max(both) + 0.02
    assert cell["count"] == len(rows) == 12 * 28


def test_the_page_says_what_it_is(results, places):
    page = (places.experiments / "probes/RESULTS.md").read_text()
    assert "| clear (spoken language) | accuracy ↑ | 60 utterances | 33.3 |" in page
    assert "speaker verification" in page and "336 trials" in page and "Generated." in page
    assert "| voices | EER | tokens - mel | not computed: an EER is of trials" in page
    assert "60 test utterances; intervals over test utterances; architectures" in page  # three voices are too few
    assert "one (chosen)" in page and "tokens - mel" in page
    assert results["provenance"]["command"].startswith("python3 -m sitok_espnet.bin.probe_score")


def test_finished_probes_are_left_alone_and_others_refused(results, places, capsys):
    weights = places.experiments / "probe_clear_mel/one/valid.error.best.pth"
    before = weights.stat().st_mtime_ns
    assert probe_sweep.main(options(places, "clear")) == 0
    assert weights.stat().st_mtime_ns == before and "trained already" in capsys.readouterr().out
    assert probe_sweep.main([*options(places, "clear"), "--train_args", "--max_epoch 3"]) == 2
    assert "was trained with other options" in capsys.readouterr().err


def test_jobs_share_the_plan(places):
    jobs = plan(places, ["clear", "voices"], ["mel", "tokens"], ["one"])
    assert [(j.task.name, j.input) for j in jobs] == [(t, i) for t in ("clear", "voices") for i in ("mel", "tokens")]
    shared = [jobs[job::2] for job in (0, 1)]
    assert sorted(j.title for part in shared for j in part) == sorted(j.title for j in jobs)
    with pytest.raises(SiTokError, match="no such input: wav"):
        plan(places, ["clear"], ["wav"])
    with pytest.raises(SiTokError, match="run stage 3 first"):
        plan(places, ["nothing"], ["mel"])
    with pytest.raises(SiTokError, match="no three.yaml"):
        plan(places, ["clear"], ["mel"], ["three"])


def test_unfinished_probes_are_not_scored(places, capsys):
    assert probe_score.main(options(places, "clear", inputs="continuous")) == 2
    assert "is not trained: run stage 5 first" in capsys.readouterr().err


def test_training_batches_are_not_in_the_order_of_names(places):
    (job,) = plan(places, ["clear"], ["mel"], ["one"])
    job.write_shapes()
    names = [line.split()[0] for line in job.shape_file("train").read_text().splitlines()]
    assert names != sorted(names) and sorted(names) == sorted(job.task.targets("train"))


def test_macro_f1_by_its_definition():
    expected, answered = list("aaabbc"), list("aabbcb")
    rows = [[e == a == c for c in "abc"] + [a == c for c in "abc"] + [e == c for c in "abc"]
            for e, a in zip(expected, answered, strict=True)]  # fmt: skip
    f1 = []
    for c in "abc":
        hit = sum(e == a == c for e, a in zip(expected, answered, strict=True))
        precision, recall = hit / answered.count(c), hit / expected.count(c)
        f1.append(2 * precision * recall / (precision + recall) if hit else 0.0)
    sums = np.array(rows, dtype=float).sum(0)
    assert macro_f1(sums) == pytest.approx(np.mean(f1))
    without_c = np.array(rows, dtype=float)[:5, [0, 1, 3, 4, 6, 7]].sum(0)
    with_empty_c = np.insert(without_c, (2, 4, 6), 0.0)  # a class that neither occurs nor is answered
    assert macro_f1(with_empty_c) == pytest.approx(macro_f1(without_c))


def test_command_line_slots_replace_the_yamls_options(places, results, tmp_path, capsys):
    from sitok_espnet.tasks.probe import ProbeTask

    config = str(places.configs[0] / "two.yaml")
    args = ProbeTask.get_parser().parse_args(["--config", config, "--body_conf", "channels=9"])
    assert args.body_conf == {"channels": 9, "pooled_channels": 6, "embedding_size": 6}
    args = ProbeTask.get_parser().parse_args(["--config", config, "--body", "time_pooling"])
    assert args.body_conf == {} and "its body_conf is dropped" in capsys.readouterr().err


def test_a_label_that_training_has_not_seen(places):
    from sitok_espnet.probes.targets import TargetPreprocessor

    encode = TargetPreprocessor(["high", "low"], None)
    assert encode("u", {"target": "low"})["target"].tolist() == [1]
    with pytest.raises(SiTokError, match="utterance u: the label 'loud'"):
        encode("u", {"target": "loud"})


def test_other_sets_or_trials_are_scored_again(results, places, tmp_path, capsys):
    """Stages 1 to 3 again: other test sets are scored anew, other training sets need another training."""
    mine = Places(tmp_path / "tasks", places.features, places.configs, tmp_path / "exp")
    shutil.copytree(places.tasks, mine.tasks)
    for task in ("clear", "voices"):
        shutil.copytree(places.experiments / f"probe_{task}_mel", mine.experiments / f"probe_{task}_mel")
    words = options(mine, "clear voices", inputs="mel")
    clear, voices = plan(mine, ["clear", "voices"], ["mel"], ["one"])
    assert probe_score.main(words) == 0
    before = {path: path.stat().st_mtime_ns for path in mine.experiments.rglob("score.json")}
    assert probe_score.main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before

    target = mine.tasks / "clear/test/target"
    target.write_text("".join(target.read_text().splitlines(keepends=True)[:7]))
    trials = mine.tasks / "voices/trials"
    trials.write_text("".join(trials.read_text().splitlines(keepends=True)[:100]))
    with pytest.raises(SiTokError, match="run stage 6 again"):
        build_results([clear], 10)
    with pytest.raises(SiTokError, match="run stage 6 again"):
        build_results([voices], 10)
    assert probe_score.main(words) == 0
    assert len(read_answers(clear.folder)) == 7
    tested = {name for line in trials.read_text().splitlines() for name in line.split()[:2]}
    assert set(read_embeddings(voices.folder)) == tested
    assert build_results([voices], 10)["tasks"]["voices"]["inputs"]["mel"]["count"] == 100

    vectors = dict(read_embeddings(voices.folder))
    gone = min(vectors)
    del vectors[gone]
    np.savez(voices.folder / "embeddings.npz", utterances=np.array(list(vectors)), vectors=list(vectors.values()))
    with pytest.raises(SiTokError, match=f"1 utterances have no embedding, such as {gone}"):
        build_results([voices], 10)

    for phase in ("train", "valid"):
        path = mine.tasks / f"clear/{phase}/target"
        old = path.read_text()
        path.write_text("".join(old.splitlines(keepends=True)[1:]))
        assert probe_score.main(options(mine, "clear", inputs="mel")) == 2
        assert "was not trained with the targets that" in capsys.readouterr().err
        assert probe_sweep.main(options(mine, "clear", inputs="mel")) == 2
        assert "was trained with other targets" in capsys.readouterr().err
        path.write_text(old)
    pieces = mine.tasks / "clear/bpe.model"
    pieces.write_bytes(b"other pieces")
    assert probe_sweep.main(options(mine, "clear", inputs="mel")) == 2
