"""Metrics: one file each behind AbsMetric, built by name from METRICS and OPTIONAL_METRICS.

A new metric is one file and one line here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.files import read_languages, read_transcripts
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample
from sitok_espnet.evaluate.metrics.cer import CharacterErrorRate
from sitok_espnet.evaluate.metrics.distillmos import DistillMOS
from sitok_espnet.evaluate.metrics.dnsmos import DNSMOSOverall
from sitok_espnet.evaluate.metrics.estoi import ESTOI
from sitok_espnet.evaluate.metrics.f0_rmse import F0RMSE
from sitok_espnet.evaluate.metrics.hubert_wer import HubertWordErrorRate
from sitok_espnet.evaluate.metrics.mcd import MelCepstralDistance
from sitok_espnet.evaluate.metrics.mel_distance import MelDistance
from sitok_espnet.evaluate.metrics.pesq import PESQ
from sitok_espnet.evaluate.metrics.prompt_similarity import PromptSimilarity
from sitok_espnet.evaluate.metrics.speaker_similarity import SpeakerSimilarity
from sitok_espnet.evaluate.metrics.stoi import STOI
from sitok_espnet.evaluate.metrics.utmos import UTMOS
from sitok_espnet.evaluate.metrics.vuv import VoicingError
from sitok_espnet.evaluate.metrics.wavlm_similarity import WavLMSimilarity
from sitok_espnet.evaluate.metrics.wer import WordErrorRate
from sitok_espnet.evaluate.metrics.whisper_wer import WhisperCharacterErrorRate, WhisperWordErrorRate
from sitok_espnet.evaluate.recognizer import Recognizer, refuse_shared_sentences
from sitok_espnet.evaluate.whisper import AbsWhisper, find_whisper, open_whisper
from sitok_espnet.evaluate.world import World
from sitok_espnet.inputs import AudioInput, read_scp


@dataclass(frozen=True)
class MetricContext:
    """What metrics may need besides audio.

    Attributes:
        train_texts: transcripts from which a recogniser's language model may learn sentences.
        test_texts: transcripts of the scored utterances: a recogniser may know their words, never their order.
        languages: those of the scored utterances; the offline recogniser knows English only.
        foreign: utterance -> language, of those that are not English.
        prompts: another recording of the speaker of each scored utterance, where there is such a list.
    """

    train_texts: tuple[str, ...] = ()
    test_texts: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)
    foreign: Mapping[str, str] = field(default_factory=dict)
    prompts: tuple[AudioInput, ...] = ()

    @classmethod
    def read(
        cls, train_text: Path | None, texts: Mapping[str, str], data_dir: Path, prompts: Path | None = None
    ) -> "MetricContext":
        """The context of transcripts `texts` (utterance -> words) of a data directory.

        Where a corpus has several languages, ``utt2lang`` beside ``text`` tells them apart (utterances that it does not
        name are English): of ``train_text`` only English is for the recogniser.
        """
        train = read_transcripts(train_text) if train_text else {}
        of_train = read_languages(train_text) if train_text else {}
        of_test = read_languages(data_dir / "text")
        return cls(
            train_texts=tuple(text for utt, text in train.items() if of_train.get(utt, "en") == "en"),
            test_texts=tuple(texts.values()),
            languages=tuple(sorted({of_test.get(utt, "en") for utt in texts})) or ("en",),
            foreign={utt: of_test[utt] for utt in sorted(texts) if of_test.get(utt, "en") != "en"},
            prompts=tuple(read_scp(prompts)) if prompts else (),
        )

    @cached_property
    def recognizer(self) -> Recognizer:
        """One recogniser shared by WER and CER (it remembers its last transcripts, so both cost one recognition)."""
        if self.languages != ("en",):
            raise MetricUnavailable(
                f"the offline recogniser knows English only, this set is {', '.join(self.languages)}"
            )
        refuse_shared_sentences(self.train_texts, self.test_texts)
        return Recognizer(self.train_texts, self.test_texts)

    @cached_property
    def whisper(self) -> AbsWhisper:
        """One Whisper shared by its WER and CER."""
        return open_whisper()

    @cached_property
    def world(self) -> World:
        """One pitch and envelope analysis shared by MCD, F0 RMSE and voicing error."""
        return World()


# All that packages bring with them, but what costs too much to be measured unasked (below).
METRICS: dict[str, Callable[[MetricContext], AbsMetric]] = {
    "wer": lambda context: WordErrorRate(context.recognizer),
    "cer": lambda context: CharacterErrorRate(context.recognizer),
    "sim": lambda context: SpeakerSimilarity(),
    "distillmos": lambda context: DistillMOS(),
    "pesq": lambda context: PESQ(),
    "stoi": lambda context: STOI(),
    "estoi": lambda context: ESTOI(),
    "mel": lambda context: MelDistance(),
    "mcd": lambda context: MelCepstralDistance(context.world),
    "f0_rmse": lambda context: F0RMSE(context.world),
    "vuv": lambda context: VoicingError(context.world),
}


# Weights that must be at hand (docs/metrics.md), or slow: where asked for by name; Whisper also where it is at hand.
OPTIONAL_METRICS: dict[str, Callable[[MetricContext], AbsMetric]] = {
    "whisper_wer": lambda context: WhisperWordErrorRate(context.whisper, context.languages, context.foreign),
    "whisper_cer": lambda context: WhisperCharacterErrorRate(context.whisper, context.languages, context.foreign),
    "hubert_wer": lambda context: HubertWordErrorRate(context.languages),
    "wavlm_sim": lambda context: WavLMSimilarity(),
    "utmos": lambda context: UTMOS(),
    "dnsmos": lambda context: DNSMOSOverall(),
    # These need a list of prompts (option --prompts), and the weights of what they are named after.
    "sim_prompt": lambda context: PromptSimilarity(SpeakerSimilarity, context.prompts),
    "wavlm_sim_prompt": lambda context: PromptSimilarity(WavLMSimilarity, context.prompts),
}


OFFLINE, WHISPER = ("wer", "cer"), ("whisper_wer", "whisper_cer")


def default_recognizers() -> tuple[str, ...]:
    """WER and CER of the recogniser that judges unless others are named: Whisper where it is at hand.

    Raises:
        MetricUnavailable: SITOK_WHISPER names what is no recogniser.
    """
    return WHISPER if find_whisper() else OFFLINE


def default_metrics() -> tuple[str, ...]:
    """The default columns: METRICS, heard by :func:`default_recognizers`."""
    return (*default_recognizers(), *(name for name in METRICS if name not in OFFLINE))


def build_metric(name: str, context: MetricContext) -> AbsMetric:
    """Build a metric by name.

    Raises:
        SiTokError: unknown name. MetricUnavailable: it cannot run here, and why.
    """
    check_names([name])
    return (METRICS | OPTIONAL_METRICS)[name](context)


def check_names(names: Iterable[str]) -> None:
    """Raise SiTokError for the first name that is not a metric's."""
    choices = METRICS | OPTIONAL_METRICS
    for name in names:
        if name not in choices:
            raise SiTokError(f"unknown metric {name!r}: choose from {', '.join(choices)} (option --metrics)")


__all__ = [
    "METRICS",
    "OPTIONAL_METRICS",
    "AbsMetric",
    "Measurement",
    "MetricContext",
    "MetricUnavailable",
    "NotMeasurable",
    "Sample",
    "build_metric",
    "check_names",
    "default_metrics",
    "default_recognizers",
]
