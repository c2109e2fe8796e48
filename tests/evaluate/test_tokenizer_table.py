"""What RESULTS.md says of a tokenizer's entropy and latency, and that it says nothing where there is none."""

from dataclasses import asdict

import numpy as np
import pytest

from sitok_espnet.evaluate.codebook import codebook_use, entropy_rate
from sitok_espnet.evaluate.tokenizer_table import closed_sentence, model_line, tokenizer_section

MISSING = {"status": "not run", "reason": "-"}


def page(codes, size, latency=MISSING):
    use = {"status": "measured", **asdict(codebook_use(codes, (size,)))}
    use["entropy_rate"] = {"status": "measured", **asdict(entropy_rate(codes, (size,), "25/2"))}
    parts = {"tokenizer": MISSING, "ctc": {"cer": MISSING, "wer": MISSING}, "codebook": {"train": MISSING, "test": use}}
    return tokenizer_section(parts | {"bits_per_second": MISSING, "speed": MISSING, "latency": latency})


def test_an_entropy_of_too_few_tokens_is_no_estimate():
    rng = np.random.default_rng(0)
    few = page([rng.integers(0, 256, (50, 1)) for _ in range(10)], 256)
    many = page([rng.integers(0, 4, (50, 1)) for _ in range(40)], 4)
    line = "| entropy rate given the token before, test set | "
    assert f"{line}no estimate: too few tokens; counted " in few
    assert f"{line}25.0 bits/s (2.00 bits a token; on half of the utterances 1.9" in many or f"{line}24.9" in many
    assert "no estimate" not in many and "too low where tokens are few" in many


def test_latency_in_words():
    cell = {"status": "measured", "median": 12.345, "percentile_95": 20.0, "count": 9}
    computing = {"status": "measured", "first_token": cell, "first_audio": MISSING, "total": cell, "audio": cell}
    must = {"token": 110.0, "first_audio": 1710.0, "chunk_seconds": 1.0}
    text = page([np.arange(9)[:, None] % 4], 4, {"status": "measured", "algorithmic": must, "computing": computing})
    assert "| latency of a token, algorithmic | 110 ms |" in text
    assert "| latency of the first chunk of mel, algorithmic | 1710 ms (a chunk of 1 s and its look-ahead) |" in text
    assert "| computing a stream's first token | median 12.3 ms, 95th percentile 20.0 ms (9 utterances) |" in text
    assert "| computing the first chunk: mel, and audio without later context | not run: - |" in text


@pytest.mark.parametrize("results", [{}, {"tokenizer": None, "mel_distance_closed": None}])
def test_nothing_without_a_tokenizer(results):
    assert (tokenizer_section(results), model_line(results), closed_sentence(results)) == ("", [], "")
