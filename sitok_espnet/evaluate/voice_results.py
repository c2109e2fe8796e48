"""The part of results.json that is about voices: the speaker EER of every system."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sitok_espnet.audio import resample
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.files import read_transcripts
from sitok_espnet.evaluate.measure import audio_hash
from sitok_espnet.evaluate.request import Request, Scores, attempt, not_run
from sitok_espnet.evaluate.speaker_encoder import SpeakerEncoder
from sitok_espnet.evaluate.verification import Trials, make_trials, resampled_units, verify
from sitok_espnet.inputs import AudioInput

WANTED_BY = "sim"  # the metric with the same encoder: without it, nothing is embedded
EMBEDDINGS = "embeddings.npz"  # in a system's folder: an array an utterance, and the hash of its audio


def voice_results(request: Request, scores: Scores) -> dict:
    """EER of every system, or why there is none: ``verification`` of results.json."""
    return attempt(lambda: _verification(request, scores))


def _verification(request: Request, scores: Scores) -> dict:
    if WANTED_BY not in request.metrics:
        raise SiTokError(f"the metric {WANTED_BY}, whose encoder it uses, was not asked for")
    trials = make_trials(_speakers(request.data_dir / "utt2spk", scores), request.seed)
    encoder = SpeakerEncoder()
    originals = _embed(encoder, scores.references, request.eval_dir / "original")
    systems = {}
    for system in request.systems:
        if system in scores.missing_systems:
            systems[system] = not_run(scores.missing_systems[system])
            continue
        same = system == "original"  # the row of the originals is made of them
        made = originals if same else _embed(encoder, scores.audio[system].values(), request.eval_dir / system)
        systems[system] = attempt(
            lambda made=made: asdict(verify(trials, originals, made, request.resamples, request.seed))
        )
    return {
        "name": "speaker EER",
        "unit": "share of trials at the threshold with as many false acceptances as false rejections",
        "direction": "lower is better",
        "model": encoder.model,
        "version": encoder.version,
        "sample_rate": encoder.sample_rate,
        "enrolment": "the original recording of another utterance",
        **_described(trials),
        "seed": request.seed,
        "systems": systems,
    }


def _described(trials: Trials) -> dict:
    """Sizes of the trial list, and what its intervals resample."""
    return {
        "speakers": len(set(trials.speakers)),
        "targets": int(trials.target.sum()),
        "impostors": int((~trials.target).sum()),
        "resampled": "speakers" if resampled_units(trials) is trials.speakers else "utterances",
    }


def _speakers(path: Path, scores: Scores) -> dict[str, str]:
    """utterance -> speaker of the scored utterances."""
    if not path.is_file():
        raise SiTokError(f"no speakers are known: {path} is missing (`sitok eval` takes --utt2spk)")
    table = read_transcripts(path)
    if missing := [item.utt for item in scores.references if not table.get(item.utt)]:
        raise SiTokError(f"{path} has no speaker for {len(missing)} utterances, such as {missing[0]}")
    return {item.utt: table[item.utt] for item in scores.references}


def _embed(encoder: SpeakerEncoder, items: Iterable[AudioInput], folder: Path) -> Mapping[str, np.ndarray]:
    """Embeddings of a system, kept in its folder; utterances of digital silence have none and are named in the log."""
    path = folder / EMBEDDINGS
    kept = _read(path)
    embeddings: dict[str, np.ndarray] = {}
    store: dict[str, np.ndarray] = {}
    for item in tqdm(items, desc=f"voices, {folder.name}", unit="utt", mininterval=1.0):
        key = f"{encoder.version} {audio_hash(item)}"
        if key not in kept:
            wav, rate = item.read()
            try:
                kept[key] = encoder.embed(resample(wav, rate, encoder.sample_rate))[0]
            except NotMeasurable as error:
                logging.warning("verification, %s, %s: %s: no embedding", folder.name, item.utt, error)
                continue
        embeddings[item.utt] = store[key] = kept[key]
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp.npz")
    np.savez(temporary, **store)
    temporary.replace(path)
    return embeddings


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as content:
            return {key: content[key] for key in content.files}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, EOFError) as error:
        logging.warning("%s is damaged and made again: %s", path, error)
        return {}
