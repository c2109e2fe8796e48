"""Inputs and a configuration for VERSA (github.com/wavlab-speech/versa), for those who score with it.

Written against VERSA 1.0.0: options of ``versa/bin/scorer.py`` at commit 21f14c8, names and keys of
``versa/scorer_shared.py`` at e9d40e6, ``versa/corpus_metrics/hubert_wer.py`` at 08f7083 and the examples
``egs/speech.yaml`` at 2899f8d and ``egs/separate_metrics/wer.yaml`` at 0b35e86.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_transcripts, write_table, write_text
from sitok_espnet.inputs import is_ark_entry, read_scp

CONFIG = "versa.yaml"
_ASR = {"model_tag": "default", "beam_size": 5, "text_cleaner": "whisper_basic"}
_WHISPER = {"name": "whisper_wer", **_ASR}
_HUBERT = (
    "the same model; not in VERSA 1.0.0 as of 21f14c8: needs versa/corpus_metrics/hubert_wer.py of 08f7083 or later"
)
# MCD and F0 without time warping: resynthesis keeps time. The numbers are those of VERSA's own example.
_WORLD = {
    "name": "mcd_f0",
    "f0min": 40,
    "f0max": 800,
    "mcep_shift": 5,
    "mcep_fftl": 1024,
    "mcep_dim": 39,
    "mcep_alpha": 0.466,
    "seq_mismatch_tolerance": 0.1,
    "power_threshold": -20,
    "dtw": False,
}


def _mos(predictor: str) -> dict:
    return {"name": "pseudo_mos", "predictor_types": [predictor], "predictor_args": {predictor: {"fs": 16000}}}


# Our metric -> VERSA's entry and how it differs from ours.
COUNTERPARTS: Mapping[str, tuple[dict, str]] = {
    "wer": (_WHISPER, "Whisper large-v3 in the place of the offline recogniser; error counts, to be summed"),
    "cer": (_WHISPER, "the same run as wer"),
    "whisper_wer": (_WHISPER, "OpenAI's Whisper large-v3 with its own text cleaner"),
    "whisper_cer": (_WHISPER, "the same run as whisper_wer"),
    "hubert_wer": ({"name": "hubert_wer", "model_tag": "default", "text_cleaner": "whisper_basic"}, _HUBERT),
    "sim": ({"name": "speaker", "model_tag": "default"}, "another encoder: ESPnet's RawNet3"),
    "wavlm_sim": ({"name": "speaker", "model_tag": "default"}, "another encoder: ESPnet's RawNet3"),
    "dnsmos": (_mos("dnsmos"), "the same model"),
    "utmos": (_mos("utmos"), "VERSA fetches its own copy"),
    "stoi": ({"name": "stoi"}, "the same package, at the files' own rate"),
    "estoi": ({"name": "estoi"}, "the same package, at the files' own rate"),
    "pesq": ({"name": "pesq"}, "the same package; its band may be another, ours is wide band at 16 kHz"),
    "mcd": (_WORLD, "other analysis settings"),
    "f0_rmse": (_WORLD, "other analysis settings, in Hz"),
}
NEED_TEXT = ("wer", "cer", "whisper_wer", "whisper_cer", "hubert_wer")


def write_versa(eval_dir: Path, systems: Sequence[str], metrics: Sequence[str], output: Path) -> list[Path]:
    """Write ``<output>/versa.yaml`` and, for every system, ``<output>/<system>/{pred.scp,gt.scp,text}``.

    Paths are absolute. Metrics of the transcript are exported where every utterance has one: VERSA leaves an utterance
    without a transcript out of all metrics, not only of these.

    Args:
        eval_dir: evaluation directory with ``original/{wav.scp,text}`` and ``<system>/wav.scp``.
        systems: rows; ``original`` is never a prediction.
        metrics: our names, of which those with a counterpart are exported.

    Returns:
        The systems' folders.

    Raises:
        SiTokError: none of the metrics has a counterpart, or a list mixes files and archives.
    """
    references = read_scp(eval_dir / "original" / "wav.scp")
    text_file = eval_dir / "original" / "text"
    texts = read_transcripts(text_file) if text_file.is_file() else {}
    without = [item.utt for item in references if not texts.get(item.utt)]
    entries, notes = _entries(metrics, len(without))
    if not entries:
        raise SiTokError("none of the metrics has a counterpart in VERSA: " + "; ".join(notes))
    needs_text = any(entry["name"].endswith("_wer") for entry in entries)
    folders, kinds = [], set()
    for system in systems:
        if system == "original":
            continue
        folder = output / system
        for name, items in (("gt.scp", references), ("pred.scp", read_scp(eval_dir / system / "wav.scp"))):
            kinds |= {is_ark_entry(item.location) for item in items}
            write_table(folder / name, {item.utt: _absolute(item.location) for item in items})
        if needs_text:
            write_table(folder / "text", texts)
        else:
            (folder / "text").unlink(missing_ok=True)
        folders.append(folder)
    if len(kinds) > 1:
        raise SiTokError("VERSA reads either audio files or archives: these lists have both; --resample writes files")
    command = "versa-score --score_config versa.yaml --pred SYSTEM/pred.scp --gt SYSTEM/gt.scp "
    command += ("--text SYSTEM/text " if needs_text else "") + "--output_file SYSTEM/scores.txt "
    command += f"--io {'kaldi' if True in kinds else 'soundfile'}"
    header = ["Metrics of VERSA that correspond to those of `sitok eval`. In this folder, for every SYSTEM:", command]
    lines = "".join(f"# {line}\n" for line in [*header, *notes])
    write_text(output / CONFIG, lines + yaml.safe_dump(entries, sort_keys=False, allow_unicode=True))
    return folders


def _entries(metrics: Sequence[str], without_text: int) -> tuple[list[dict], list[str]]:
    """VERSA's entries, each once, and a line of remarks a metric. All predictors of MOS share one entry."""
    entries: dict[str, dict] = {}
    notes = []
    for metric in metrics:
        if metric not in COUNTERPARTS:
            notes.append(f"{metric}: no counterpart in VERSA")
            continue
        if metric in NEED_TEXT and without_text:
            notes.append(
                f"{metric}: left out: {without_text} utterances have no transcript, VERSA would skip them wholly"
            )
            continue
        entry, difference = COUNTERPARTS[metric]
        notes.append(f"{metric}: {entry['name']} ({difference})")
        if entry["name"] == "pseudo_mos" and "pseudo_mos" in entries:
            both = entries["pseudo_mos"]
            entry = {
                "name": "pseudo_mos",
                "predictor_types": both["predictor_types"] + entry["predictor_types"],
                "predictor_args": both["predictor_args"] | entry["predictor_args"],
            }
        entries[entry["name"]] = entry
    return list(entries.values()), notes


def _absolute(location: str) -> str:
    if is_ark_entry(location):
        path, _, offset = location.rpartition(":")
        return f"{Path(path).resolve()}:{offset}"
    return str(Path(location).resolve())
