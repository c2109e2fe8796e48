"""The understanding tasks: what is asked, how it is judged, which probes are tried.

"DASB" is arXiv 2406.14294 (speechbrain/benchmarks): two downstream architectures a task, the better one is reported.
There "better" is left open; here it is the better one on the validation set, so that the test set chooses nothing.
"""

from dataclasses import dataclass

from sitok_espnet.errors import SiTokError

WER, ACCURACY, EER = "wer", "accuracy", "eer"
TITLES = {WER: "WER", ACCURACY: "accuracy", EER: "EER"}
HIGHER_IS_BETTER = {WER: False, ACCURACY: True, EER: False}


@dataclass(frozen=True)
class ProbeTask:
    """title: for people. target: "label" or "text". metric: of the table. probes: YAMLs in conf/probe.

    source: whose choice of probes it is.
    """

    title: str
    target: str
    metric: str
    probes: tuple[str, ...]
    source: str


TASKS = {
    "asr_ctc": ProbeTask(
        "speech recognition (CTC)", "text", WER, ("asr_bilstm", "asr_contextnet"), "DASB: BiLSTM, ContextNet"
    ),
    "asr_lm": ProbeTask(
        "speech recognition (small language model)",
        "text",
        WER,
        ("asr_lm",),
        "ours: the paper fine-tunes a language model of 1B parameters, this one starts at random",
    ),
    "emotion": ProbeTask(
        "emotion or style", "label", ACCURACY, ("ecapa_tdnn", "time_pooling"), "DASB: ECAPA-TDNN, time pooling + linear"
    ),
    "speaker_verification": ProbeTask(
        "speaker verification", "label", EER, ("speaker_ecapa_tdnn", "speaker_xvector"), "DASB: ECAPA-TDNN, x-vectors"
    ),
    "keyword": ProbeTask(
        "keyword spotting", "label", ACCURACY, ("xvector", "ecapa_tdnn"), "DASB: x-vectors, ECAPA-TDNN"
    ),
    "language": ProbeTask(
        "spoken language",
        "label",
        ACCURACY,
        ("ecapa_tdnn", "time_pooling"),
        "ours (not in DASB): ECAPA-TDNN, time pooling + linear",
    ),
}


def task_of(kind: str) -> ProbeTask:
    """The task of a ``task.json``; SiTokError for an unknown kind."""
    if kind not in TASKS:
        raise SiTokError(f"no such kind of task: {kind!r}; there are {', '.join(TASKS)} (sitok_espnet/probes/tasks.py)")
    return TASKS[kind]
