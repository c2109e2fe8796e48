"""From texts and prompts to what `generate` takes, and a seed for every utterance (ours)."""

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.checkpoint import LoadedSpeechLM
from sitok_espnet.speechlm.generation import GenerationRequest
from sitok_espnet.speechlm.text import continued


@dataclass(frozen=True)
class VoicePrompt:
    """Attributes: codes: (P, N) of the prompt's speech. text: its transcript."""

    codes: np.ndarray
    text: str


def make_request(loaded: LoadedSpeechLM, text: str, prompt: VoicePrompt | None) -> GenerationRequest:
    """One utterance to speak: the text of prompt and target together, then the prompt's speech.

    The target is expected to take the prompt's frames per character (as in F5-TTS, Chen et al. 2024).

    Raises:
        SiTokError: an empty text, or characters that the text pieces do not have.
    """
    if not text.strip():
        raise SiTokError("an empty text cannot be spoken")
    whole = continued(prompt.text, text) if prompt else text
    if unknown := loaded.tokenizer.unknown(whole):
        raise SiTokError(
            f"the language model has no text pieces for {' '.join(sorted(unknown))!r} in {whole!r}: write it in the "
            "form of the training transcripts (numbers spelled out, the same case and punctuation)"
        )
    codes = prompt.codes if prompt else np.empty((0, loaded.model.vocabulary.num_codebooks), dtype=np.int64)
    said = len(prompt.text.strip()) if prompt else 0
    expected = len(text.strip()) * len(codes) / said if said and len(codes) else None
    return GenerationRequest(torch.tensor(loaded.tokenizer.encode(whole)), torch.from_numpy(codes), expected)


def frames_of(seconds: float, frame_rate: Fraction | str) -> int:
    """Frames of tokens in that time, rounded up: for TokenSampling's bounds."""
    return ceil(Fraction(str(seconds)) * Fraction(frame_rate))  # 0.4 means 2/5, not the float beside it


def utterance_seed(seed: int, utterance: str) -> int:
    """32 bits that depend on nothing but the two: what an utterance draws is the same in any batch and order."""
    return int.from_bytes(hashlib.sha256(f"{seed} {utterance}".encode()).digest()[:4], "big")
