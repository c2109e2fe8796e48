"""Vocabulary, patterns, sequences and packing."""

import json

import pytest
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.pattern.choices import PATTERNS, build_pattern
from sitok_espnet.speechlm.sequences import NOTHING, make_sequence, pack, text_inputs
from sitok_espnet.speechlm.vocabulary import JointVocabulary


def vocabulary(sizes=(5, 3)) -> JointVocabulary:
    return JointVocabulary(7, "t", tuple(sizes), "c", "25/2")


def random_codes(frames: int, sizes=(5, 3), seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(size, (frames,), generator=generator) for size in sizes], dim=1)


def test_identifiers_do_not_overlap_and_cover_everything():
    words = vocabulary()
    special = [words.padding, words.text_begin, words.speech_begin, words.end]
    assert special == [7, 8, 9, 10] and words.speech_offsets == (11, 16) and len(words) == 19
    assert list(words.choices(0)) == [10, 11, 12, 13, 14, 15] and list(words.choices(1)) == [16, 17, 18]


def test_vocabulary_file(tmp_path):
    path = tmp_path / "lm/vocabulary.json"
    vocabulary().write(path)
    assert JointVocabulary.read(path) == vocabulary()
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"layout_version": 2}))
    with pytest.raises(SiTokError, match="layout 2"):
        JointVocabulary.read(path)
    path.write_text(json.dumps(content | {"unknown": 2}))
    with pytest.raises(SiTokError, match="not a joint vocabulary"):
        JointVocabulary.read(path)
    path.write_text("{")
    with pytest.raises(SiTokError, match="not valid JSON"):
        JointVocabulary.read(path)
    with pytest.raises(SiTokError, match="cannot be read"):
        JointVocabulary.read(tmp_path / "none.json")
    with pytest.raises(SiTokError, match="dump holds tokens of another tokenizer"):
        vocabulary().check_manifest({"codes_hash": "d", "codebook_sizes": [5, 3]}, "dump")
    vocabulary().check_manifest({"codes_hash": "c", "codebook_sizes": [5, 3]}, "dump")


def test_flattened_frames_written_out():
    pattern = build_pattern("flatten", vocabulary())
    steps = pattern.steps(torch.tensor([[0, 2], [4, 0]]))
    assert steps[:, 0].tolist() == [11, 18, 15, 16, 10]


def test_delayed_frames_written_out():
    pattern = build_pattern("delay", vocabulary((5, 3, 2)))
    steps = pattern.steps(torch.tensor([[0, 2, 1], [4, 0, 0]]))
    nothing = 7
    assert steps.tolist() == [[11, nothing, nothing], [15, 18, nothing], [10, 16, 20], [nothing, nothing, 19]]


@pytest.mark.parametrize("name", sorted(PATTERNS))
@pytest.mark.parametrize("sizes", [(5,), (5, 3), (4, 4, 4, 4)])
@pytest.mark.parametrize("frames", [0, 1, 2, 9])
def test_patterns_lose_nothing_and_agree_with_what_is_due(name, sizes, frames):
    pattern = build_pattern(name, vocabulary(sizes))
    codes = random_codes(frames, sizes)
    steps = pattern.steps(codes)
    assert len(steps) == pattern.num_steps(frames)
    torch.testing.assert_close(pattern.codes(steps, frames), codes)
    assert (steps == pattern.vocabulary.end).sum() == 1
    seen = 0
    for step in range(len(steps)):
        held = {due.stream: due for due in pattern.due(step)}
        for stream, identifier in enumerate(steps[step].tolist()):
            due = held.get(stream)
            if identifier == pattern.vocabulary.padding:
                assert due is None or due.frame >= frames
                continue
            assert identifier in pattern.vocabulary.choices(due.codebook)
            if identifier == pattern.vocabulary.end:
                assert (due.codebook, due.frame) == (0, frames)
            else:
                seen += 1
                assert identifier - pattern.vocabulary.speech_offsets[due.codebook] == codes[due.frame, due.codebook]
    assert seen == codes.numel()
    with pytest.raises(SiTokError, match="unknown pattern"):
        build_pattern("spiral", vocabulary())


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_a_sequence_predicts_every_step_from_what_is_before_it(name):
    pattern = build_pattern(name, vocabulary())
    codes, pieces = random_codes(4), torch.tensor([3, 1, 6])
    sequence = make_sequence(pattern, pieces, codes)
    steps = pattern.steps(codes)
    assert sequence.inputs[:5, 0].tolist() == [8, 3, 1, 6, 9]
    torch.testing.assert_close(sequence.inputs[5:], steps[:-1])
    torch.testing.assert_close(sequence.targets[4:], steps)
    assert (sequence.targets[:4] == pattern.vocabulary.padding).all() and (sequence.codebooks[:4] == NOTHING).all()
    predicted = sequence.codebooks != NOTHING
    assert predicted.sum() == codes.numel() + 1  # and the end
    pairs = zip(sequence.targets[predicted].tolist(), sequence.codebooks[predicted].tolist(), strict=True)
    for target, codebook in pairs:
        assert target in pattern.vocabulary.choices(codebook)
    assert text_inputs(pattern, None)[:, 0].tolist() == [8, 9]


def test_packing_keeps_every_sequence_whole_and_apart():
    pattern = build_pattern("flatten", vocabulary((5,)))
    sequences = [
        make_sequence(pattern, torch.arange(1 + i % 3), random_codes(2 + 3 * i, (5,), seed=i)) for i in range(6)
    ]
    batch = pack(sequences, 24, pattern.vocabulary.padding)
    assert batch.inputs.shape[1] <= 24 and len(batch.inputs) < len(sequences)
    assert sum(len(s) for s in sequences) == int((batch.sequence >= 0).sum())
    for index, item in enumerate(sequences):
        where = batch.sequence == index
        torch.testing.assert_close(batch.inputs[where], item.inputs)
        torch.testing.assert_close(batch.targets[where], item.targets)
        torch.testing.assert_close(batch.codebooks[where], item.codebooks)
        assert batch.positions[where].tolist() == list(range(len(item)))
    mask = batch.attention_mask()[:, 0]
    for row in range(len(mask)):
        for i in range(mask.shape[1]):
            for j in range(mask.shape[1]):
                assert mask[row, i, j] == (j <= i and batch.sequence[row, i] == batch.sequence[row, j])
    alone = pack(sequences, None, pattern.vocabulary.padding)
    assert len(alone.inputs) == len(sequences)
    long = pack(sequences, 4, pattern.vocabulary.padding)
    assert len(long.inputs) == len(sequences)
