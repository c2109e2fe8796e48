"""Sequences that the language model learns: <text> pieces <speech> steps (ours; PAPER section 4, zero-shot TTS).

Zero-shot synthesis needs no sequence of its own: the text is that of the prompt and the target together, and the speech
begins with the prompt's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sitok_espnet.speechlm.pattern.abs_pattern import AbsPattern

NOTHING = -1  # in `codebooks`: nothing is predicted there


@dataclass(frozen=True)
class TokenSequence:
    """One utterance as the model reads it. L positions, S streams.

    Attributes:
        inputs: (L, S) identifiers.
        targets: (L, S) what each position predicts in each stream; padding where it predicts nothing.
        codebooks: (L, S) codebook of each target, NOTHING where there is none.
    """

    inputs: Tensor
    targets: Tensor
    codebooks: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


def text_inputs(pattern: AbsPattern, pieces: Tensor | None) -> Tensor:
    """<text> pieces <speech> -> (U + 2, S); text stands in stream 0. None is the null condition: no pieces."""
    vocabulary = pattern.vocabulary
    pieces = torch.empty(0, dtype=torch.long) if pieces is None else pieces.cpu().long()
    inputs = torch.full((len(pieces) + 2, pattern.num_streams), vocabulary.padding)
    inputs[0, 0], inputs[-1, 0] = vocabulary.text_begin, vocabulary.speech_begin
    inputs[1:-1, 0] = pieces
    return inputs


def make_sequence(pattern: AbsPattern, pieces: Tensor | None, codes: Tensor) -> TokenSequence:
    """A training sequence of text pieces (U,), None for the null condition, and codes (T, N)."""
    before = text_inputs(pattern, pieces)
    steps = pattern.steps(codes)
    inputs = torch.cat([before, steps[:-1]])
    targets = torch.full_like(inputs, pattern.vocabulary.padding)
    targets[len(before) - 1 :] = steps
    codebooks = torch.full_like(inputs, NOTHING)
    codebooks[len(before) - 1 :] = pattern.codebooks(len(steps))
    codebooks[targets == pattern.vocabulary.padding] = NOTHING
    return TokenSequence(inputs, targets, codebooks)


@dataclass(frozen=True)
class PackedBatch:
    """Several sequences in each of R rows of P positions.

    Attributes:
        inputs, targets, codebooks: (R, P, S), see TokenSequence; padded at the end of a row.
        positions: (R, P) position within its sequence.
        sequence: (R, P) index of the sequence in the batch, -1 for padding.
    """

    inputs: Tensor
    targets: Tensor
    codebooks: Tensor
    positions: Tensor
    sequence: Tensor

    def attention_mask(self) -> Tensor:
        """(R, 1, P, P) bool: a position sees itself and what is before it in its own sequence (padding sees itself)."""
        same = self.sequence[:, :, None] == self.sequence[:, None, :]
        causal = torch.ones(same.shape[-2:], dtype=torch.bool, device=same.device).tril()
        return (same & causal)[:, None]


def pack(sequences: Sequence[TokenSequence], row_length: int | None, padding: int) -> PackedBatch:
    """Put sequences into rows of at most ``row_length`` positions, longest first into the first row that has room.

    A longer sequence is a row of its own. None puts every sequence into its own row.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), i)):
        length = len(sequences[index])
        row = next((r for r, free in enumerate(room) if free >= length), None) if row_length else None
        if row is None:
            rows.append([])
            room.append(max(row_length or 0, length))
            row = len(rows) - 1
        rows[row].append(index)
        room[row] -= length
    width = max(sum(len(sequences[i]) for i in row) for row in rows)
    streams = sequences[0].inputs.shape[1]
    shape = (len(rows), width, streams)
    inputs, targets = (torch.full(shape, padding) for _ in range(2))
    codebooks = torch.full(shape, NOTHING)
    positions, sequence = torch.zeros(shape[:2], dtype=torch.long), torch.full(shape[:2], -1)
    for row, members in enumerate(rows):
        start = 0
        for index in members:
            item, stop = sequences[index], start + len(sequences[index])
            inputs[row, start:stop], targets[row, start:stop] = item.inputs, item.targets
            codebooks[row, start:stop] = item.codebooks
            positions[row, start:stop] = torch.arange(len(item))
            sequence[row, start:stop] = index
            start = stop
    return PackedBatch(inputs, targets, codebooks, positions, sequence)
