"""Class SiTokTTS: text and a prompt to speech, through tokens (PAPER section 4; interface ours)."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.speechlm.checkpoint import LoadedSpeechLM, load_speech_lm
from sitok_espnet.speechlm.generation import EMPTY, Generated, generate
from sitok_espnet.speechlm.requests import VoicePrompt, frames_of, make_request
from sitok_espnet.speechlm.sampling import TokenSampling


@dataclass(frozen=True)
class Spoken:
    """One synthesized utterance.

    Attributes:
        wav: (S,) float32; empty where the status is "empty".
        codes: (T, N).
        status: "ended", "run-away" (stopped at the longest allowed length) or "empty".
    """

    wav: np.ndarray
    codes: np.ndarray
    status: str


@dataclass
class Seconds:
    """Wall-clock seconds spent so far: language model, tokenizer's decoder, vocoder; and seconds of speech made."""

    lm: float = 0.0
    decoder: float = 0.0
    vocoder: float = 0.0
    speech: float = 0.0


class SiTokTTS:
    """A token language model with the tokenizer whose tokens it speaks.

    Attributes:
        seconds: what the calls of `speak` have cost.
    """

    def __init__(self, loaded: LoadedSpeechLM, tokenizer: SiTok) -> None:
        """Use `from_pretrained`."""
        vocabulary = loaded.model.vocabulary
        if vocabulary.codes_hash != tokenizer.codes_hash:
            raise SiTokError(
                f"the language model in {loaded.directory} speaks tokens of another tokenizer (codes_hash "
                f"{vocabulary.codes_hash}) than {tokenizer.directory} ({tokenizer.codes_hash}): give the one that "
                "it was trained with"
            )
        self.lm = loaded
        self.tokenizer = tokenizer
        self.seconds = Seconds()

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        tokenizer: str | Path | SiTok,
        checkpoint: str | None = None,
        device: str = "cpu",
        **tokenizer_options,
    ) -> "SiTokTTS":
        """Open both.

        Args:
            directory: experiment or packed directory of the language model.
            tokenizer: a SiTok, or what SiTok.from_pretrained opens; ``tokenizer_options`` go there.
            checkpoint: file name in the directory.
            device: of both.

        Raises:
            SiTokError: nothing to load there, or parts that do not belong together.
        """
        loaded = load_speech_lm(directory, checkpoint, device)
        if not isinstance(tokenizer, SiTok):
            tokenizer = SiTok.from_pretrained(tokenizer, device=device, **tokenizer_options)
        return cls(loaded, tokenizer)

    def make_prompt(self, wav, sample_rate: int, text: str) -> VoicePrompt:
        """A prompt of speech (S,) and its transcript; SiTokError as SiTok.encode."""
        return VoicePrompt(self.tokenizer.encode([wav], sample_rate)[0], text)

    def speak(
        self,
        texts: Sequence[str],
        prompts: Sequence[VoicePrompt | None],
        sampling: TokenSampling,
        seeds: Sequence[int],
        steps: int | None = None,
        cfg_scale: float = 0.0,
        decoder_temperature: float | None = None,
    ) -> list[Spoken]:
        """Synthesize one batch.

        Args:
            texts: what to say.
            prompts: whose voice, for each text; None lets the model choose.
            sampling: of the tokens; see also `frames`.
            seeds: one a text; draws and noise depend on nothing else.
            steps, cfg_scale, decoder_temperature: of the tokenizer's decoder (SiTok.decode; its ``temperature``).

        Raises:
            SiTokError: an empty text, or characters that the text pieces do not have.
        """
        decoding = {"steps": steps, "cfg_scale": cfg_scale, "temperature": decoder_temperature}
        before = time.perf_counter()
        results = self.generate(texts, prompts, sampling, seeds)
        self.seconds.lm += time.perf_counter() - before
        return [
            Spoken(self._sound(result, seed, decoding), result.codes, result.status)
            for result, seed in zip(results, seeds, strict=True)
        ]

    def generate(
        self, texts: Sequence[str], prompts: Sequence[VoicePrompt | None], sampling: TokenSampling, seeds: Sequence[int]
    ) -> list[Generated]:
        """The codes alone; arguments as in `speak`."""
        requests = [make_request(self.lm, text, prompt) for text, prompt in zip(texts, prompts, strict=True)]
        return generate(self.lm.model, requests, sampling, seeds)

    def frames(self, seconds: float) -> int:
        """Frames of tokens in that time, rounded up: for TokenSampling's bounds."""
        return frames_of(seconds, self.tokenizer.frame_rate)

    def _sound(self, result: Generated, seed: int, decoding: Mapping) -> np.ndarray:
        if result.status == EMPTY:
            return np.empty(0, dtype=np.float32)
        before = time.perf_counter()
        mels = self.tokenizer.decode_mel([result.codes], seed=seed, **decoding)
        decoded = time.perf_counter()
        (wav,) = self.tokenizer.vocode(mels)
        self.seconds.decoder += decoded - before
        self.seconds.vocoder += time.perf_counter() - decoded
        self.seconds.speech += len(wav) / self.tokenizer.sample_rate
        return wav
