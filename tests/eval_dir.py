"""A miniature experiment with a scored test set, as stages 5 to 8 leave it, for tests of the report page."""

import json
from pathlib import Path

import numpy as np
import yaml
from speech_generator import speech

from sitok_espnet.audio import write_audio

RATE = 24000
UTTERANCES = ("spk1-a", "spk1-b", "spk1-c")
TEXTS = {"spk1-a": "one two three", "spk1-b": "four five", "spk1-c": "six seven eight"}
HEARD = {"spk1-a": "one too three four", "spk1-b": "five", "spk1-c": "six seven eight"}
SYSTEMS = {  # WER, mel distance
    "original": (0.1, None),
    "copy_synthesis": (0.2, 0.1),
    "reconstruction": (0.5, 0.6),
    "reconstruction_cfg": (0.4, 0.7),
    "peer_opus_6k": (0.3, 0.2),
    "mean_mel": (1.0, 1.5),
}
MACHINE = {
    "processor": "abacus",
    "cores": 2,
    "memory": "1 GiB",
    "accelerator": "none",
    "python": "3.11",
    "torch": "2.11",
}


def card(title: str, direction: str, decimals: int = 3) -> dict:
    return {
        "title": title,
        "unit": "units",
        "direction": direction,
        "model": "a model",
        "version": "1",
        "sample_rate": 16000,
        "decimals": decimals,
    }


def cell(value: float | None) -> dict:
    if value is None:
        return {"status": "reference", "reason": "perfect by construction"}
    return {"status": "measured", "value": value, "low": value - 0.05, "high": value + 0.05, "count": 3}


def results() -> dict:
    """What sitok_score writes, with every status a cell can have."""
    systems = {}
    for name, (wer, mel) in SYSTEMS.items():
        utterances = {
            utt: {
                "wer": {"value": wer, "numerator": 1, "denominator": 2, "detail": HEARD[utt]},
                "mel": {"value": mel or 0.0, "numerator": 1, "denominator": 2},
            }
            for utt in UTTERANCES
        }
        metrics = {"wer": cell(wer), "mel": cell(mel), "sim": {"status": "not run", "reason": "no encoder here"}}
        rate = {"bits_per_second": 75.0, "nominal": None, "source": "frame rate x log2 sizes"}
        if name.startswith("peer"):
            rate = {"bits_per_second": 6312.0, "nominal": 6000, "source": "measured bytes / seconds"}
        rated = name.startswith(("reconstruction", "peer"))
        about = {"name": "Opus, 6 kbit/s", "version": "1.5", "weights": "package", "note": "60 ms frames"}
        systems[name] = {
            "status": "measured",
            "metrics": metrics,
            "utterances": utterances,
            "rate": rate if rated else None,
            "about": about if name.startswith("peer") else None,
        }
    absent = {"status": "not run", "reason": "weights of DAC are not at hand"}
    dac = {"name": "DAC, 2 codebooks", "version": "5.23.0", "weights": "random", "note": ""}
    cells = dict.fromkeys(("wer", "mel", "sim"), absent)
    systems["peer_dac_1k"] = {**absent, "metrics": cells, "utterances": {}, "rate": None, "about": dac}
    interval = {"value": 0.02, "low": 0.01, "high": 0.03, "count": 3}
    use = {"status": "measured", "tokens": 60, "sizes": [8, 8], "used": [1.0, 0.5], "perplexity": [7.0, 3.5]}
    difference = {**cell(-0.1), "p_value": 0.01, "first_is_better": True, "intervals_overlap": False}
    return {
        "data": {"utterances": 3, "with_transcript": 3, "reference_words": 8},
        "bootstrap": {"resamples": 200, "seed": 0, "confidence": 0.95},
        "metrics": {
            "wer": card("WER", "lower is better"),
            "mel": card("mel distance", "lower is better"),
            "sim": {"status": "not run", "reason": "no encoder here"},
        },
        "systems": systems,
        "tokenizer": {
            "status": "measured",
            "checkpoint": "default",
            "model_hash": "a" * 16,
            "codes_hash": "b" * 16,
            "mel_hash": "c" * 16,
            "config_hash": "d" * 16,
            "parameters": 1_250_000,
            "frame_rate": "25/2",
            "codebook_sizes": [8, 8],
            "vocoder": "griffin_lim",
        },
        "verification": {
            "status": "measured",
            "enrolment": "the original recording of another utterance",
            "speakers": 2,
            "targets": 40,
            "impostors": 40,
            "seed": 0,
            "resampled": "utterances",
            "model": "an encoder",
            "version": "1",
            "sample_rate": 16000,
            "systems": {
                "original": {**interval, "status": "measured", "targets": 40, "impostors": 40},
                "reconstruction": {
                    **interval,
                    "status": "measured",
                    "targets": 38,
                    "impostors": 39,
                    "rejected": ["a"],
                    "left_out": ["b", "c"],
                },
            },
        },
        "ctc": {"cer": cell(0.3), "wer": cell(0.6)},
        "codebook": {"train": {"status": "not run", "reason": "no token dump was given"}, "test": use},
        "bits_per_second": {
            "status": "measured",
            "value": 75.0,
            "tokens_per_second": "25",
            "frame_rate": "25/2",
            "codebook_sizes": [8, 8],
        },
        "speed": {
            "status": "measured",
            **{part: interval for part in ("encode", "decode", "vocoder")},
            "threads": 2,
            "device": "cpu",
            "steps": 4,
            "cfg_scale": 0.0,
            "batch": "one utterance",
            "machine": MACHINE,
        },
        "comparisons": [
            {
                "first": "reconstruction",
                "second": "mean_mel",
                "metrics": {"wer": difference, "mel": {**difference, "p_value": 0.4}, "sim": absent},
            }
        ],
        "mel_distance_closed": {"status": "measured", "value": 0.6, "low": 0.5, "high": 0.7},
        "provenance": {"command": "python3 -m x", "commit": "f" * 40, "seed": 0, "machine": MACHINE},
    }


def steps() -> dict:
    """What sitok_step_curve writes, as far as its diagrams read it."""
    interval = {"value": 0.5, "low": 0.4, "high": 0.6, "count": 3}
    return {
        "metrics": {"mel": card("mel distance", "lower is better")},
        "ceiling": {"mel": interval},
        "time_reference": {"model": "tiny", "steps": 4},
        "rows": [
            {"model": "tiny", "steps": number, "metrics": {"mel": interval}, "time_ratio": interval}
            for number in (1, 2, 4)
        ],
        "provenance": {"command": "python3 -m steps", "commit": "e" * 40, "machine": MACHINE},
    }


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def make_eval_dir(folder: Path, content: dict | None = None, utterances=UTTERANCES, texts=TEXTS) -> Path:
    """A scored test set; its audio is half a second and more, quieter with every system."""
    write_json(folder / "results.json", content or results())
    (folder / "text").write_text("".join(f"{utt} {texts[utt]}\n" for utt in utterances), encoding="utf-8")
    for loudness, system in enumerate(SYSTEMS):
        lines = []
        for index, utt in enumerate(utterances):
            path = folder / system / "wav" / f"{utt}.wav"
            write_audio(path, speech(0.5 + 0.1 * index, seed=index) * 0.8**loudness, RATE)
            lines.append(f"{utt} {path}\n")
        (folder / system / "wav.scp").write_text("".join(lines), encoding="utf-8")
    codes = np.arange(60).reshape(30, 2) % np.array([8, 4])
    write_json(folder / "tokens.json", {utterances[0]: codes[:20].tolist(), utterances[1]: codes[20:].tolist()})
    write_json(folder / "tokenizer.json", {"codebook_sizes": [8, 8]})
    return folder


def make_scored_experiment(folder: Path) -> Path:
    """An experiment with logged curves, one scored test set and a step curve."""
    from torch.utils.tensorboard import SummaryWriter

    make_eval_dir(folder / "eval" / "test")
    write_json(folder / "eval" / "test" / "steps" / "steps.json", steps())
    config = {"seed": 7, "token_list": ["<blank>", "a", "b"], "encoder": "llama"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "train.log").write_text("# python3 -m sitok_espnet.bin.sitok_train --seed 7\n# started now\n")
    for part, tags in (
        ("train", ("loss", "loss_ctc", "optim0_lr0", "loss_scale")),
        ("valid", ("loss", "perplexity_0", "perplexity_1")),
    ):
        with SummaryWriter(folder / "tensorboard" / part) as writer:
            for tag in tags:
                for step in (10, 20, 30):
                    writer.add_scalar(tag, 30.0 / step, step)
    return folder


def probes() -> dict:
    """A table of probes, as sitok_probe1 writes it."""
    found = {"probe": "linear", "value": 0.75, "low": 0.7, "high": 0.8, "count": 40}
    return {
        "tasks": {
            "language": {
                "metric": "accuracy",
                "chance": 0.2,
                "higher_is_better": True,
                "order": "tokens lie between",
                "inputs": {"mel": found, "tokens": found, "continuous": {"reason": "not trained"}},
            }
        },
        "provenance": {"command": "python3 -m probe", "seed": 0},
    }
