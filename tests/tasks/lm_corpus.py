"""The smallest corpus of a token language model: transcripts, codes, text pieces, joint vocabulary, a training YAML."""

import numpy as np
import sentencepiece
import yaml

from sitok_espnet.speechlm.text import load_text_tokenizer
from sitok_espnet.speechlm.vocabulary import JointVocabulary
from sitok_espnet.tokens import ark_record, flatten_codes

SIZES = (6, 4)
LLAMA = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
CONFIG = {
    "pattern": "delay",
    "lm_conf": {"model_type": "llama", "config": LLAMA},
    "model_conf": {"text_drop": 0.25, "pack_length": 64},
    "batch_type": "numel",
    "batch_bins": 120,
    "max_epoch": 2,
    "num_workers": 0,
    "use_matplotlib": False,
    "optim": "adamw",
    "optim_conf": {"lr": 1.0e-2},
}


def write_lm_corpus(folder):
    """8 utterances of 5 to 12 frames."""
    rng = np.random.default_rng(0)
    words = "one two three four five six seven eight".split()
    texts = {f"u{i}": " ".join(rng.choice(words, 2 + i % 3)) for i in range(8)}
    (folder / "text").write_text("".join(f"{utt} {text}\n" for utt, text in texts.items()))
    (folder / "plain").write_text("\n".join(texts.values()))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "plain"), model_prefix=str(folder / "bpe"), vocab_size=24, minloglevel=2
    )
    position, lines = 0, []
    with open(folder / "tokens.ark", "wb") as file:
        for utt in texts:
            codes = np.stack([rng.integers(0, size, 5 + len(lines)) for size in SIZES], axis=1)
            record, start = ark_record(utt, flatten_codes(codes, SIZES))
            file.write(record)
            lines.append(f"{utt} {folder / 'tokens.ark'}:{position + start}\n")
            position += len(record)
    (folder / "codes.scp").write_text("".join(lines))
    (folder / "keys").write_text("".join(f"{utt}\n" for utt in texts))
    tokenizer = load_text_tokenizer(folder / "bpe.model")
    JointVocabulary(tokenizer.size, tokenizer.hash, SIZES, "c", "25/2").write(folder / "vocabulary.json")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))


def data_options(folder):
    """--vocabulary, --text_tokenizer and the data of both phases."""
    options = ["--vocabulary", f"{folder}/vocabulary.json", "--text_tokenizer", f"{folder}/bpe.model"]
    for phase in ("train", "valid"):
        for data in (f"{folder}/text,text,text", f"{folder}/codes.scp,codes,kaldi_ark"):
            options += [f"--{phase}_data_path_and_name_and_type", data]
    return options
