"""Codes from text and a prompt: batched, with a key-value cache, seeded (PAPER section 4; details ours)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.espnet_model import SpeechLMModel
from sitok_espnet.speechlm.sampling import TokenSampling, draw, draw_end
from sitok_espnet.speechlm.sequences import text_inputs

ENDED, RUNAWAY, EMPTY = "ended", "run-away", "empty"
END = 0  # index of the end among the choices of codebook 0


@dataclass(frozen=True)
class GenerationRequest:
    """One utterance to speak.

    Attributes:
        pieces: (U,) identifiers of the text: that of the prompt and the target together.
        prompt: (P, N) codes of the prompt, P >= 0.
        expected: frames that the target takes at the prompt's speaking rate; None where that is not known.
    """

    pieces: Tensor
    prompt: Tensor
    expected: float | None = None

    def longest(self, options: TokenSampling) -> int:
        """Frames of the target after which generation is stopped."""
        if options.max_length_ratio is None or self.expected is None:
            return options.max_frames
        bound = ceil(round(options.max_length_ratio * self.expected, 6))  # 1.1 times 10 is 11, not the float above it
        return min(options.max_frames, max(bound, options.min_frames, 1))


@dataclass(frozen=True)
class Generated:
    """Attributes: codes: (T, N) without the prompt. status: ENDED; RUNAWAY: stopped at its longest; EMPTY: T = 0."""

    codes: np.ndarray
    status: str


@dataclass
class _Row:
    """One utterance under way.

    Attributes:
        request: what was asked.
        steps: identifiers (S,) of every step so far, the prompt's first.
        generator: of its draws.
        drawn: indices among the choices of each codebook, for the repetition penalty.
        frames: P + T once the end is known.
        stopped: whether that end was forced.
    """

    request: GenerationRequest
    steps: list[list[int]]
    generator: np.random.Generator
    drawn: dict[int, list[int]] = field(default_factory=dict)
    frames: int | None = None
    stopped: bool = False


@torch.no_grad()
def generate(
    model: SpeechLMModel, requests: Sequence[GenerationRequest], options: TokenSampling, seeds: Sequence[int]
) -> list[Generated]:
    """Speak utterances in one batch. What is drawn for one depends on its request and its seed alone, up to rounding.

    Raises:
        SiTokError: a prompt of other codebooks, not one seed a request, guidance by a model that never saw the null
            condition, more positions than the model has, or a model that computes no numbers.
    """
    if not requests:
        return []
    if options.cfg_scale and not model.text_drop:
        raise SiTokError("this language model was trained with text_drop 0: it has no guidance by the text (scale 0)")
    if len(seeds) != len(requests):
        raise SiTokError(f"{len(requests)} utterances to generate, but {len(seeds)} seeds")
    pattern, vocabulary = model.pattern, model.vocabulary
    rows, prefixes = [], []
    for request, seed in zip(requests, seeds, strict=True):
        if request.prompt.ndim != 2 or request.prompt.shape[1] != vocabulary.num_codebooks:
            raise SiTokError(f"prompt of shape {tuple(request.prompt.shape)}: expected (P, {vocabulary.num_codebooks})")
        complete = pattern.first_step(len(request.prompt))
        steps = pattern.steps(request.prompt)[:complete]
        rows.append(_Row(request, steps.tolist(), np.random.Generator(np.random.PCG64(seed))))
        prefixes.append(torch.cat([text_inputs(pattern, request.pieces), steps]))
        longest = request.longest(options)
        positions = len(request.pieces) + 2 + pattern.num_steps(len(request.prompt) + longest)
        model.check_positions(
            positions, f"{longest} frames (--max_seconds, --max_length_ratio) after this text and prompt"
        )
    if options.cfg_scale:  # the null condition of every row, behind all rows
        nulls = [text_inputs(pattern, None)] * len(rows)
        prefixes += [
            torch.cat([null, torch.tensor(row.steps).view(-1, pattern.num_streams)])
            for null, row in zip(nulls, rows, strict=True)
        ]
    cached = _CachedModel(model, prefixes)
    active = list(range(len(rows)))
    while active:
        hidden = cached.hidden
        steps = _next_steps(model, [rows[i] for i in active], hidden, options)
        for index, step in zip(active, steps, strict=True):
            rows[index].steps.append(step)
        going = [at for at, index in enumerate(active) if not _finished(model, rows[index])]
        if not going:
            break
        count = len(active)
        kept = going + ([count + at for at in going] if options.cfg_scale else [])
        following = torch.tensor([steps[at] for at in going] * (2 if options.cfg_scale else 1))
        active = [active[at] for at in going]
        cached.advance(kept, following)
    return [_result(model, row) for row in rows]


class _CachedModel:
    """The model after what it has read; prefixes are padded on the left, so that all rows go on at the same place.

    hidden: (R, D) hidden states of the last position.
    """

    def __init__(self, model: SpeechLMModel, prefixes: Sequence[Tensor]) -> None:
        self.model = model
        device = next(model.parameters()).device
        longest = max(len(prefix) for prefix in prefixes)
        streams = prefixes[0].shape[1]
        inputs = torch.full((len(prefixes), longest, streams), model.vocabulary.padding)
        self.valid = torch.zeros(len(prefixes), longest, dtype=torch.bool)
        for row, prefix in enumerate(prefixes):
            inputs[row, longest - len(prefix) :] = prefix
            self.valid[row, longest - len(prefix) :] = True
        self.valid = self.valid.to(device)
        self.positions = (self.valid.cumsum(1) - 1).clamp(min=0)
        causal = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
        # Padding sees itself: a position that sees nothing has no softmax.
        mask = (causal & self.valid[:, None, :]) | torch.eye(longest, dtype=torch.bool, device=device)
        self.cache = model.lm.make_cache()
        self.hidden = model.hidden(inputs.to(device), mask[:, None], self.positions, self.cache)[:, -1]
        self.positions = self.positions[:, -1:]

    def advance(self, kept: Sequence[int], steps: Tensor) -> None:
        """Go on with some rows: their indices, and the step (R', S) that each reads next."""
        device = self.valid.device
        if len(kept) < len(self.valid):
            rows = torch.tensor(kept, device=device)
            self.cache.batch_select_indices(rows)
            self.valid, self.positions = self.valid[rows], self.positions[rows]
        self.valid = torch.cat([self.valid, self.valid.new_ones(len(self.valid), 1)], dim=1)
        self.positions = self.positions + 1
        hidden = self.model.hidden(steps[:, None].to(device), self.valid[:, None, None], self.positions, self.cache)
        self.hidden = hidden[:, -1]


def _next_steps(model: SpeechLMModel, rows: Sequence[_Row], hidden: Tensor, options: TokenSampling) -> list[list[int]]:
    """The next step (S,) of every row; it notes draws and ends in the rows."""
    pattern, vocabulary = model.pattern, model.vocabulary
    steps = [[vocabulary.padding] * pattern.num_streams for _ in rows]
    for codebook in range(vocabulary.num_codebooks):
        choices = vocabulary.choices(codebook)
        log_p = None
        for at, row in enumerate(rows):
            due = next((due for due in pattern.due(len(row.steps)) if due.codebook == codebook), None)
            if due is None or (row.frames is not None and due.frame >= row.frames):
                continue
            prompt = row.request.prompt
            if due.frame < len(prompt):
                code = int(prompt[due.frame, codebook])
                steps[at][due.stream] = vocabulary.speech_offsets[codebook] + code
                continue
            if log_p is None:
                log_p = _log_probabilities(model, hidden, choices, options.cfg_scale).cpu()
            if codebook == 0 and _ends(model, row, log_p[at], due.frame - len(prompt), options):
                row.frames = due.frame
                steps[at][due.stream] = vocabulary.end
            else:
                steps[at][due.stream] = _draw_one(model, row, log_p[at].clone(), codebook, options)
    return steps


def _log_probabilities(model: SpeechLMModel, hidden: Tensor, choices: range, cfg_scale: float) -> Tensor:
    """(B, C) log probabilities; with guidance the second half of the hidden states is that of the null condition.

    The end and the codes are guided apart (ours): log odds of the end, and log probabilities among codes. Guided
    together and normalised at last, the codes gain on the end wherever the text changes them: speech becomes longer.

    Raises:
        SiTokError: the weights make no numbers.
    """
    log_p = model.lm.logits(hidden, choices).double().log_softmax(-1)
    if not log_p.isfinite().all():
        raise SiTokError("the language model computes NaN or infinity: its training diverged, take another checkpoint")
    if not cfg_scale:
        return log_p

    def guided(scores: Tensor) -> Tensor:
        with_text, without = scores.chunk(2)
        return with_text + cfg_scale * (with_text - without)

    if model.vocabulary.end not in choices:
        return guided(log_p).log_softmax(-1)
    end, codes = log_p[:, END, None], log_p[:, END + 1 :]
    odds = guided(end - codes.logsumexp(-1, keepdim=True))
    return torch.cat([F.logsigmoid(odds), F.logsigmoid(-odds) + guided(codes).log_softmax(-1)], dim=-1)


def _ends(model: SpeechLMModel, row: _Row, log_p: Tensor, generated: int, options: TokenSampling) -> bool:
    """Whether a row has no frame after ``generated`` ones of the target; it notes in the row an end that is forced."""
    chosen = draw_end(log_p, END, options, row.generator)
    if generated < row.request.longest(options):
        return chosen and generated >= options.min_frames
    row.stopped = not chosen
    return True


def _draw_one(model: SpeechLMModel, row: _Row, scores: Tensor, codebook: int, options: TokenSampling) -> int:
    """One identifier of a code of this codebook."""
    choices = model.vocabulary.choices(codebook)
    if codebook == 0:
        scores[END] = -torch.inf
    past = row.drawn.setdefault(codebook, [])
    past.append(draw(scores, past, options, row.generator))
    return choices[past[-1]]


def _finished(model: SpeechLMModel, row: _Row) -> bool:
    return row.frames is not None and len(row.steps) >= model.pattern.num_steps(row.frames)


def _result(model: SpeechLMModel, row: _Row) -> Generated:
    codes = model.pattern.codes(torch.tensor(row.steps), row.frames)[len(row.request.prompt) :]
    status = RUNAWAY if row.stopped else ENDED if len(codes) else EMPTY
    return Generated(codes.numpy(), status)
