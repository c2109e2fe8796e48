"""An experiment directory of a tiny language model, as stage 5 leaves it."""

from dataclasses import asdict

import sentencepiece
import torch
import yaml
from tiny_lm import tiny_lm_config

from sitok_espnet.speechlm.slots import build_speech_lm
from sitok_espnet.speechlm.text import load_text_tokenizer
from sitok_espnet.speechlm.vocabulary import JointVocabulary

TEXTS = "one two three four\nfive six seven eight\nnine ten\n"


def make_lm_dir(folder, tokenizer, texts=TEXTS, pieces=22, **changes):
    """An experiment of an untrained tiny language model for a tokenizer's tokens."""
    folder.mkdir()
    (folder / "texts").write_text(texts)
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts"), model_prefix=str(folder / "bpe"), vocab_size=pieces, minloglevel=2
    )
    text_pieces = load_text_tokenizer(folder / "bpe.model")
    words = JointVocabulary(text_pieces.size, text_pieces.hash, tokenizer.codebook_sizes, tokenizer.codes_hash, "25/2")
    config = tiny_lm_config(vocabulary=asdict(words) | {"codebook_sizes": list(words.codebook_sizes)}, **changes)
    config |= {"text_tokenizer": str(folder / "bpe.model"), "best_model_criterion": [["valid", "loss", "min"]]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    torch.save(build_speech_lm(config).state_dict(), folder / "valid.loss.best.pth")
    return folder
