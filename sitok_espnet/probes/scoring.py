"""What a trained probe answers on the validation and test sets (stage 6); numbers are made of it in results.py."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from sitok_espnet.checkpoint import best_checkpoint, read_weights
from sitok_espnet.computing import exact_inference, make_batches
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, write_json, write_text
from sitok_espnet.evaluate.metrics.error_rate import edit_errors
from sitok_espnet.evaluate.text import normalize_characters, normalize_words
from sitok_espnet.probes.espnet_model import ProbeModel
from sitok_espnet.probes.plan import DONE, TEST, TRIALS, VALID, ProbeJob
from sitok_espnet.probes.slots import build_probe
from sitok_espnet.probes.store import FeatureStore
from sitok_espnet.probes.targets import join_pieces
from sitok_espnet.probes.tasks import EER

BATCH_FRAMES = 20000
ANSWERS, SUMMARY, EMBEDDINGS = "answers.jsonl", "score.json", "embeddings.npz"


@dataclass(frozen=True)
class Answer:
    """expected and answered: a label or a normalised text of one utterance."""

    utterance: str
    expected: str
    answered: str


def load_probe(folder: Path, device: str = "cpu") -> ProbeModel:
    """The best checkpoint of a finished training, in evaluation mode.

    Raises:
        SiTokError: unfinished, or weights of another configuration.
    """
    if not (folder / DONE).is_file():
        raise SiTokError(f"{folder} is not trained: run stage 5 first, it resumes where it stopped")
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    model = build_probe(config)
    path = folder / best_checkpoint(config)
    if not path.is_file():
        raise SiTokError(f"{path} does not exist: remove {folder} and run stage 5 again")
    try:
        model.load_state_dict(read_weights(path), strict=True)
    except RuntimeError as error:
        raise SiTokError(f"{path} does not belong to the config.yaml beside it: {error}") from error
    return model.to(device).eval()


def _batches(
    store: FeatureStore, utterances: list[str], device: str
) -> Iterable[tuple[list[str], torch.Tensor, torch.Tensor]]:
    for batch in make_batches([store.num_frames(u) for u in utterances], BATCH_FRAMES):
        names = [utterances[i] for i in batch]
        items = [torch.from_numpy(store[name]) for name in names]
        feats = torch.nn.utils.rnn.pad_sequence(items, batch_first=True, padding_value=0)
        yield names, feats.to(device), torch.tensor([len(item) for item in items], device=device)


def predict(
    model: ProbeModel, store: FeatureStore, utterances: Iterable[str], device: str = "cpu"
) -> dict[str, list[int]]:
    """Utterance -> class (a list of one) or piece ids."""
    results: dict[str, list[int]] = {}
    with exact_inference():
        for names, feats, lengths in _batches(store, sorted(utterances), device):
            results.update(zip(names, model.predict(feats, lengths), strict=True))
    return results


def embed(
    model: ProbeModel, store: FeatureStore, utterances: Iterable[str], device: str = "cpu"
) -> dict[str, np.ndarray]:
    """Utterance -> what the head reads of it (D',)."""
    results: dict[str, np.ndarray] = {}
    with exact_inference():
        for names, feats, lengths in _batches(store, sorted(utterances), device):
            results.update(zip(names, model.embed(feats, lengths).cpu().numpy(), strict=True))
    return results


def answers(job: ProbeJob, model: ProbeModel, store: FeatureStore, phase: str, device: str) -> list[Answer]:
    """A probe's answers on one set."""
    expected = job.task.targets(phase)
    found = predict(model, store, expected, device)
    if job.task.task.target == "text":
        text = {utt: join_pieces(ids, model.target_list) for utt, ids in found.items()}
        return [
            Answer(utt, " ".join(normalize_words(expected[utt])), " ".join(normalize_words(text[utt])))
            for utt in sorted(expected)
        ]
    return [Answer(utt, expected[utt], model.target_list[found[utt][0]]) for utt in sorted(expected)]


def error_counts(answer: Answer, target: str, characters: bool = False) -> tuple[int, int]:
    """(errors, units) of an answer: of words or characters, or 1 of 1 for a wrong label."""
    if target == "label":
        return int(answer.answered != answer.expected), 1
    units = normalize_characters if characters else normalize_words
    expected = units(answer.expected)
    return edit_errors(expected, units(answer.answered)), len(expected)


def read_trials(path: Path) -> list[tuple[str, str, bool]]:
    """``enrolment test target|nontarget`` lines; SiTokError for anything else."""
    if not path.is_file():
        raise SiTokError(f"{path} is missing: verification needs trials, run stage 3 again")
    trials = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if len(words) != 3 or words[2] not in ("target", "nontarget"):
            raise SiTokError(f"{path}:{number}: expected `enrolment test target|nontarget`, got {line!r}")
        trials.append((words[0], words[1], words[2] == "target"))
    if len({target for *_, target in trials}) < 2:
        raise SiTokError(f"{path}: target and nontarget trials are needed")
    return trials


def score(job: ProbeJob, device: str = "cpu") -> None:
    """Write a probe's answers on the test set and its error on the validation set; a score of the same
    training, sets and trials is kept.

    The validation error chooses between architectures: character errors of transcripts (at this size words are all
    wrong long before letters are), wrong labels, for verification of the speakers of the training set.

    Raises:
        SiTokError: not trained, or with other targets; trials of utterances without features.
    """
    summary_file, state = job.folder / SUMMARY, score_state(job)
    if summary_file.is_file() and _is_current(read_json(summary_file), state):
        return
    model = load_probe(job.folder, device)
    job.check_trained_targets()
    summary_file.unlink(missing_ok=True)  # of other answers than those that are written now
    store = FeatureStore(job.features)
    counts = [error_counts(a, job.task.task.target, characters=True) for a in answers(job, model, store, VALID, device)]
    if job.task.task.metric == EER:
        trials = read_trials(job.task.folder / TRIALS)
        tested = {utterance for *pair, _ in trials for utterance in pair}
        if missing := sorted(tested - set(store)):
            raise SiTokError(f"{job.task.folder / TRIALS}: {missing[0]} has no features in {job.features}")
        found = embed(model, store, tested, device)
        temporary = job.folder / f".{EMBEDDINGS}"
        names = sorted(found)
        with open(temporary, "wb") as file:
            np.savez(file, utterances=np.array(names), vectors=np.stack([found[name] for name in names]))
        temporary.replace(job.folder / EMBEDDINGS)
    else:
        lines = [json.dumps(vars(a), ensure_ascii=False) + "\n" for a in answers(job, model, store, TEST, device)]
        write_text(job.folder / ANSWERS, "".join(lines))
    write_json(
        summary_file,
        {
            **state,
            "valid_error": sum(errors for errors, _ in counts) / sum(units for _, units in counts),
            "parameters": sum(p.numel() for p in model.parameters()),
            "adapter_parameters": sum(p.numel() for p in model.adapter.parameters()),
        },
    )


def score_state(job: ProbeJob) -> dict:
    """What a score belongs to: the training, and the sets and trials that it was scored on."""
    trained = (job.folder / DONE).stat().st_mtime_ns if (job.folder / DONE).is_file() else None
    return {"trained": trained, "targets": job.task.training_digest, "scored": job.task.scored_digest}


def _is_current(summary: Mapping, state: Mapping) -> bool:
    return all(summary.get(key) == value for key, value in state.items())


def read_summary(job: ProbeJob) -> dict:
    """score.json; SiTokError if the training, the test set or the trials are others since."""
    summary = read_json(job.folder / SUMMARY)
    if not _is_current(summary, score_state(job)):
        raise SiTokError(f"{job.folder / SUMMARY} is of another training, test set or trials: run stage 6 again")
    return summary


def read_answers(folder: Path) -> list[Answer]:
    """What `score` wrote."""
    return [Answer(**json.loads(line)) for line in (folder / ANSWERS).read_text(encoding="utf-8").splitlines()]


def read_embeddings(folder: Path) -> Mapping[str, np.ndarray]:
    """What `score` wrote for verification."""
    with np.load(folder / EMBEDDINGS) as content:
        return dict(zip(content["utterances"].tolist(), content["vectors"], strict=True))
