"""Code embeddings that begin at the tokenizer's codebook vectors (ours).

Codes that sound alike are near each other in the codebook; embeddings that begin at random have to learn that from few
examples of each code. What it brings on small data: egs2/mini_asterisk/sitok_tts1/README.md.
"""

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.speechlm.espnet_model import SpeechLMModel
from sitok_espnet.speechlm.vocabulary import JointVocabulary

FILE = "code_vectors.npz"
HASH, CODEBOOK = "codes_hash", "codebook_{}"


def code_vectors(tokenizer: SiTok) -> list[np.ndarray]:
    """Of each of N codebooks (size, d) float32: what its codes decode to, before the projection to the model's width.

    Raises:
        SiTokError: a model without codes.
    """
    quantizer, sizes = tokenizer.model.quantizer, tokenizer.codebook_sizes
    if not sizes:
        raise SiTokError(f"the model in {tokenizer.directory} has no codes: it makes no vocabulary of them")
    vectors = []
    for book, size in enumerate(sizes):
        codes = torch.zeros(1, size, len(sizes), dtype=torch.long, device=tokenizer.device)
        codes[0, :, book] = torch.arange(size)
        with torch.no_grad():
            vectors.append(quantizer.decode_per_codebook(codes)[0, :, book].float().cpu().numpy())
    return vectors


def write_code_vectors(path: Path, tokenizer: SiTok) -> None:
    """``FILE``, moved into place whole."""
    arrays = {CODEBOOK.format(book): rows for book, rows in enumerate(code_vectors(tokenizer))}
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        np.savez(file, **{HASH: np.array(tokenizer.codes_hash)}, **arrays)
    temporary.replace(path)


def read_code_vectors(path: str | Path, vocabulary: JointVocabulary) -> list[np.ndarray]:
    """What `write_code_vectors` wrote, for the tokenizer of this vocabulary.

    Raises:
        SiTokError: a missing or damaged file, or one of another tokenizer.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            codes_hash = str(content[HASH])
            vectors = [content[CODEBOOK.format(book)] for book in range(vocabulary.num_codebooks)]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise SiTokError(f"code_vectors: {path} cannot be read ({error}): make it again (stage 3)") from error
    if codes_hash != vocabulary.codes_hash or tuple(map(len, vectors)) != vocabulary.codebook_sizes:
        raise SiTokError(
            f"code_vectors: {path} is of another tokenizer (codes_hash {codes_hash}) than the joint vocabulary "
            f"({vocabulary.codes_hash}): make both again (stage 3)"
        )
    return vectors


def begin_at_codebooks(model: SpeechLMModel, vectors: Sequence[np.ndarray]) -> None:
    """Replace the embeddings of all codes, and their rows of the output layer.

    The vectors (size, d) of a codebook are centred and projected at random (Gaussian, which nearly keeps their angles)
    to the backbone's width; they get the spread that the embeddings had.
    """
    for book, rows in enumerate(vectors):
        choices = model.vocabulary.choices(book)
        codes = range(choices.stop - len(rows), choices.stop)
        centred = torch.from_numpy(rows) - torch.from_numpy(rows).mean(dim=0)
        begin = centred @ torch.randn(centred.shape[1], model.lm.output_size())
        with torch.no_grad():
            before = model.lm.embed(torch.arange(codes.start, codes.stop))
            model.lm.set_embeddings(codes, begin * (before.std() / begin.std()))
