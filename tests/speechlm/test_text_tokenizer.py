"""Text pieces: which characters are missing, and that stage 3 says so of whole sets."""

import unicodedata

import pytest
import sentencepiece
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from sitok_espnet.bin.speechlm_vocabulary import check_text
from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.text import load_text_tokenizer


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "texts").write_text("esta\u0301 aqui\nque tal\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts"), model_prefix=str(folder / "bpe"), vocab_size=14, minloglevel=2, model_type="char"
    )
    return load_text_tokenizer(folder / "bpe.model")


def test_unknown_is_what_the_text_as_a_whole_has_no_pieces_for(pieces):
    decomposed = unicodedata.normalize("NFD", "est\u00e1")
    assert len(decomposed) == 5 and pieces.encode(decomposed) == pieces.encode("est\u00e1")
    assert pieces.unknown(decomposed) == set()  # the accent alone is no character of the model
    assert pieces.unknown("que 2 x") == {"2", "x"}


def test_transcripts_without_pieces_are_named_before_the_training(pieces, tmp_path):
    (tmp_path / "text").write_text("u1 que tal\nu2 tal 2\n")
    with pytest.raises(SiTokError, match=r"text: 1 transcripts have .*u2: 2"):
        check_text(pieces, tmp_path / "text")
    (tmp_path / "text").write_text("u1 que tal\n")
    check_text(pieces, tmp_path / "text")


def test_a_tokenizer_with_more_pieces_than_its_model_has_rows(tmp_path):
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    assert load_text_tokenizer(tmp_path, 64).size == 64
    with pytest.raises(SiTokError, match="has 3 pieces, its text LM only 2"):
        load_text_tokenizer(tmp_path, 2)
