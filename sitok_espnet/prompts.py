"""Mel prompts that a caller of `SiTok.decode` gives: checked, and padded into a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.decoder.prompt import TokenPrompt
from sitok_espnet.sitok.espnet_model import SiTokModel
from sitok_espnet.tokens import check_codes


@dataclass(frozen=True)
class Prompt:
    """codes: int64 (P, N). mel: float32 (kP, M), natural log."""

    codes: np.ndarray
    mel: np.ndarray


def check_prompts(model: SiTokModel, prompts: Sequence | None, targets: Sequence[np.ndarray]) -> list[Prompt | None]:
    """For each utterance, given by its checked codes (T, N), what was given: (codes (P, N), log-mel (F, M)) or None.

    F may end within the last token, as `SiTok.log_mel` does; the mel is then continued at its floor, which is what
    the encoder hears there.

    Raises:
        SiTokError: another number of prompts, unknown codes, a mel that does not belong to the codes, a model whose
            decoder was not trained with prompts, or that has no codes; a prompt that is the target or its beginning.
    """
    if prompts is None:
        return [None] * len(targets)
    if len(prompts) != len(targets):
        raise SiTokError(
            f"decode: {len(targets)} utterances but {len(prompts)} prompts: give None where there is no prompt"
        )
    if not model.decoder.takes_prompt and any(prompt is not None for prompt in prompts):
        raise SiTokError(
            "the decoder of this model was trained without mel prompts: leave prompt out, or refine the decoder with "
            "decoder_conf prompt: true (regression takes none)"
        )
    if not model.quantizer.codebook_sizes and any(prompt is not None for prompt in prompts):
        raise SiTokError("a prompt is codes and mel, but the quantizer of this model is continuous: leave prompt out")
    checked = [None if prompt is None else _check(model, prompt, f"prompt {i}") for i, prompt in enumerate(prompts)]
    for index, (prompt, target) in enumerate(zip(checked, targets, strict=True)):
        if prompt is not None and np.array_equal(prompt.codes, target[: len(prompt.codes)]):
            raise SiTokError(
                f"prompt {index}: its codes are those with which the target begins: the decoder would be shown what it "
                "is to make; take the prompt from another utterance of the speaker"
            )
    return checked


def _check(model: SiTokModel, prompt: Sequence, name: str) -> Prompt:
    if not isinstance(prompt, tuple | list) or len(prompt) != 2:
        raise SiTokError(f"{name}: expected (codes, log_mel), got {type(prompt).__name__}")
    codes = check_codes(prompt[0], model.quantizer.codebook_sizes, name)
    mel = np.asarray(torch.as_tensor(prompt[1], dtype=torch.float32).cpu())
    mel_config, k = model.feats_extract.config, model.stacking_factor
    if mel.ndim != 2 or mel.shape[1] != mel_config.n_mels:
        raise SiTokError(
            f"{name}: the mel has shape {mel.shape}, expected (F, {mel_config.n_mels}), as log_mel gives it"
        )
    if not k * (len(codes) - 1) < len(mel) <= k * len(codes):
        raise SiTokError(
            f"{name}: {len(codes)} tokens stand for {k * (len(codes) - 1) + 1} to {k * len(codes)} mel frames, but the "
            f"mel has {len(mel)}: do codes and mel come from the same speech?"
        )
    if not np.isfinite(mel).all():
        raise SiTokError(f"{name}: the mel has NaN or infinite values")
    rest = k * len(codes) - len(mel)
    return Prompt(codes, np.pad(mel, ((0, rest), (0, 0)), constant_values=mel_config.log_floor))


def pad_prompts(prompts: Sequence[Prompt | None], device: torch.device) -> TokenPrompt | None:
    """A batch of prompts, padded on the right; None if there is none at all."""
    given = [prompt for prompt in prompts if prompt is not None]
    if not given:
        return None
    longest = max(given, key=lambda prompt: len(prompt.codes))
    codes = np.zeros((len(prompts), *longest.codes.shape), dtype=np.int64)
    mel = np.zeros((len(prompts), *longest.mel.shape), dtype=np.float32)
    lengths = np.zeros(len(prompts), dtype=np.int64)
    for row, prompt in enumerate(prompts):
        if prompt is not None:
            lengths[row] = len(prompt.codes)
            codes[row, : len(prompt.codes)] = prompt.codes
            mel[row, : len(prompt.mel)] = prompt.mel
    return TokenPrompt(*(torch.from_numpy(array).to(device) for array in (codes, mel, lengths)))
