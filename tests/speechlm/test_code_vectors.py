"""Embeddings that begin at the codebooks."""

import numpy as np
import pytest
import torch
from experiment_dir import make_model_dir
from tiny_lm import LLAMA, tiny_lm

from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.speechlm.code_vectors import begin_at_codebooks, code_vectors, read_code_vectors, write_code_vectors
from sitok_espnet.speechlm.vocabulary import JointVocabulary


def vocabulary_of(tokenizer) -> JointVocabulary:
    return JointVocabulary(8, "texts", tokenizer.codebook_sizes, tokenizer.codes_hash, "25/2")


def test_vectors_are_the_entries_that_codes_decode_to(tiny_tokenizer, tmp_path):
    write_code_vectors(tmp_path / "code_vectors.npz", tiny_tokenizer)
    vectors = read_code_vectors(tmp_path / "code_vectors.npz", vocabulary_of(tiny_tokenizer))
    assert [len(rows) for rows in vectors] == list(tiny_tokenizer.codebook_sizes)
    codes = torch.tensor([[[size - 1 for size in tiny_tokenizer.codebook_sizes]]])
    decoded = tiny_tokenizer.model.quantizer.decode_per_codebook(codes)[0, 0]
    for rows, expected in zip(vectors, decoded, strict=True):
        np.testing.assert_array_equal(rows[-1], expected.numpy())
        assert len(np.unique(rows, axis=0)) > 1


@pytest.mark.parametrize("tied", [True, False])
def test_near_codes_get_near_embeddings(tied):
    model = tiny_lm(sizes=(40, 4), lm_conf={"config": {**LLAMA, "hidden_size": 512, "tie_word_embeddings": tied}})
    generator = np.random.default_rng(0)
    vectors = [generator.standard_normal((size, 3)).astype(np.float32) + 5 for size in (40, 4)]
    rows = range(8 + 4, 8 + 4 + 44)
    before = model.lm.embed(torch.arange(len(model.vocabulary))).detach().clone()
    torch.manual_seed(1)
    begin_at_codebooks(model, vectors)
    after = model.lm.embed(torch.arange(len(model.vocabulary))).detach()
    torch.testing.assert_close(
        after[: rows.start], before[: rows.start], rtol=0, atol=0
    )  # text and special identifiers
    centred = torch.from_numpy(vectors[0] - vectors[0].mean(axis=0))
    begun = after[rows.start : rows.start + 40]
    assert begun.std().item() == pytest.approx(before[rows.start : rows.start + 40].std().item(), rel=1e-4)
    angles = [torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=-1) for x in (centred, begun)]
    assert (angles[0] - angles[1]).abs().max() < 0.25
    logits = model.lm.logits(begun[:1], range(rows.start, rows.start + 40))
    torch.testing.assert_close(logits, begun[:1] @ begun.T)  # the output layer has them too


def test_vectors_of_another_tokenizer_are_refused(tiny_tokenizer, tmp_path):
    path = tmp_path / "code_vectors.npz"
    words = vocabulary_of(tiny_tokenizer)
    with pytest.raises(SiTokError, match="cannot be read"):
        read_code_vectors(path, words)
    path.write_bytes(b"no archive")
    with pytest.raises(SiTokError, match="make it again"):
        read_code_vectors(path, words)
    write_code_vectors(path, tiny_tokenizer)
    other = JointVocabulary(8, "texts", words.codebook_sizes, "other", "25/2")
    with pytest.raises(SiTokError, match="another tokenizer"):
        read_code_vectors(path, other)


def test_a_model_without_codes_has_no_vectors(tmp_path):
    model = make_model_dir(tmp_path / "exp", quantizer="identity", quantizer_conf={})
    with pytest.raises(SiTokError, match="has no codes"):
        code_vectors(SiTok.from_pretrained(model))
