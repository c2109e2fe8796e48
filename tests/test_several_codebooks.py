"""Everything behind the quantizer with four codebooks of different sizes: API, dump, command line, check, report."""

import json
from types import SimpleNamespace

import kaldiio
import numpy as np
import pytest
import torch
from experiment_dir import make_model_dir
from near_ties import assert_same_codes
from speech_generator import speech, write_corpus

from sitok_espnet.audio import read_audio
from sitok_espnet.bin import main as sitok
from sitok_espnet.bin import sitok_synth_systems, sitok_verify
from sitok_espnet.checkpoint import load_model, pack
from sitok_espnet.dump import DumpOptions, dump_tokens
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import tokenizer_results
from sitok_espnet.evaluate.codebook import codebook_use
from sitok_espnet.evaluate.invariance import verify_tokens
from sitok_espnet.evaluate.tokenizer_table import tokenizer_section
from sitok_espnet.inference import SiTok
from sitok_espnet.inputs import read_scp
from sitok_espnet.tokens import open_tokens, read_tokens

SIZES = (64, 16, 8, 5)
OFFSETS = np.array([0, 64, 80, 88])
CHAIN = {"num_codebooks": 4, "codebook_size": list(SIZES), "codebook_dim": 8}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    ctc = {"num_layers": 1, "intermediate_size": 48, "num_heads": 2, "codebooks": "first"}
    directory = tmp_path_factory.mktemp("chain") / "exp"
    return make_model_dir(directory, quantizer="residual_vq", quantizer_conf=CHAIN, ctc_conf=ctc)


@pytest.fixture(scope="module")
def tokenizer(model_dir):
    return SiTok.from_pretrained(model_dir, vocoder_conf={"iterations": 2})


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), 5, seed=3, words=(1, 3))


@pytest.fixture(scope="module")
def inputs(data_dir):
    return read_scp(data_dir / "wav.scp")


@pytest.fixture(scope="module")
def codes(tokenizer, inputs):
    return tokenizer.encode([item.read()[0] for item in inputs], 24000)


@pytest.fixture(scope="module")
def dump(tokenizer, inputs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("dump") / "train"
    assert dump_tokens(tokenizer, inputs, directory, DumpOptions(shard_size=2), progress=False)
    return directory


def test_properties(tokenizer, codes):
    assert (tokenizer.num_codebooks, tokenizer.codebook_sizes) == (4, SIZES)
    assert tokenizer.bits_per_second == pytest.approx(12.5 * (6 + 4 + 3 + np.log2(5)))
    together = np.concatenate(codes)
    assert together.shape[1] == 4 and (together < SIZES).all()
    assert all(len(np.unique(layer)) > 2 for layer in together.T)


def test_every_codebook_is_heard(tokenizer, codes):
    mel = tokenizer.decode_mel(codes[:1], steps=2)[0]
    for layer, size in enumerate(SIZES):
        changed = codes[0].copy()
        changed[:, layer] = (changed[:, layer] + 1) % size
        assert np.abs(tokenizer.decode_mel([changed], steps=2)[0] - mel).max() > 1e-4


def test_ctc_of_the_first_codebook_hears_nothing_else(tokenizer, codes):
    others = [np.concatenate([item[:, :1], (item[:, 1:] + 1) % SIZES[1:]], axis=1) for item in codes]
    assert tokenizer.transcribe(others) == tokenizer.transcribe(codes)
    first = [np.concatenate([(item[:, :1] + 9) % 64, item[:, 1:]], axis=1) for item in codes]
    assert tokenizer.transcribe(first) != tokenizer.transcribe(codes)


def test_codes_of_another_codebook_are_refused(tokenizer):
    with pytest.raises(SiTokError, match="unknown code 5 at token 1, codebook 3.*0 to 4"):
        tokenizer.decode([np.array([[63, 15, 7, 4], [0, 0, 0, 5]])])
    with pytest.raises(SiTokError, match=r"expected shape \(T, 4\)"):
        tokenizer.decode([np.zeros((3, 1), int)])


def test_stream_is_what_encode_returns(tokenizer, inputs, codes):
    stream, wav = tokenizer.stream(), inputs[0].read()[0]
    parts = [stream.push(wav[start : start + 3001], 24000) for start in range(0, len(wav), 3001)]
    assert_same_codes(tokenizer, wav, np.concatenate([*parts, stream.flush()]), codes[0])


def test_dump_is_what_encode_returns(dump, inputs, codes):
    manifest = json.loads((dump / "manifest.json").read_text())
    assert manifest["num_codebooks"] == 4 and manifest["codebook_sizes"] == list(SIZES)
    assert manifest["num_tokens"] == sum(map(len, codes))
    assert (dump / "codec_code_per_frame").read_text() == "4\n"
    names = (dump / "token_list").read_text().splitlines()
    assert len(names) == 93 and names[87] == "<codec_layer2_code7>" and names[88] == "<codec_layer3_code0>"
    raw, seen = kaldiio.load_scp(str(dump / "wav.scp")), dict(read_tokens(dump))
    counts = dict(line.split() for line in (dump / "utt2num_tokens").read_text().splitlines())
    for item, expected in zip(inputs, codes, strict=True):
        np.testing.assert_array_equal(seen[item.utt], expected)
        np.testing.assert_array_equal(raw[item.utt].reshape(-1, 4) - OFFSETS, expected)
        assert int(counts[item.utt]) == len(expected)


def test_command_line(model_dir, inputs, codes, tmp_path):
    options = ["--model", str(model_dir)]
    wavs = [item.location for item in inputs[:2]]
    assert sitok.main(["encode", *wavs, "-o", str(tmp_path / "x.ark"), *options]) == 0
    for (_, got), expected in zip(open_tokens(tmp_path / "x.ark"), codes, strict=False):
        np.testing.assert_array_equal(got, expected)
    vocoder = ["--steps", "1", "--vocoder_conf", "iterations=1"]
    assert sitok.main(["decode", str(tmp_path / "x.ark"), "-o", str(tmp_path / "out"), *options, *vocoder]) == 0
    for item in inputs[:2]:
        assert len(read_audio(tmp_path / "out" / f"{item.utt}.wav")[0]) == len(item.read()[0])


def test_packing_keeps_the_codes(model_dir, tokenizer, inputs, codes, tmp_path):
    packed = load_model(pack(model_dir, tmp_path / "packed"))
    assert packed.codes_hash == tokenizer.codes_hash
    wav = torch.from_numpy(inputs[0].read()[0])[None]
    np.testing.assert_array_equal(packed.model.encode(wav, torch.tensor([wav.size(1)]))[0][0], codes[0])


def test_verification(model_dir, data_dir, capsys):
    command = ["--model", str(model_dir), "--wav_scp", str(data_dir / "wav.scp"), "--min_tokens", "50"]
    assert sitok_verify.main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["holds"] and result["unproven"] == 0 and result["tokens"] == 3 * result["distinct_tokens"]


@pytest.mark.parametrize(
    "name, conf", [("residual_vq", CHAIN), ("fsq", {"levels": [8, 5, 5]}), ("bsq", {"num_bits": 8})]
)
def test_verification_finds_codes_that_nothing_explains(name, conf, tmp_path, monkeypatch):
    tokenizer = SiTok.from_pretrained(make_model_dir(tmp_path / "exp", quantizer=name, quantizer_conf=conf))
    wavs = [speech(seconds, seed=i) for i, seconds in enumerate((0.4, 1.1, 1.7, 2.2))]
    report = verify_tokens(tokenizer, wavs, batch_size=3)
    assert report.holds, report
    quantizer = tokenizer.model.quantizer
    encode, size = quantizer.encode, quantizer.codebook_sizes[-1]

    def last_codebook_depends_on_the_batch(x):
        codes = encode(x)
        codes[..., -1] = (codes[..., -1] + (len(x) > 1)) % size
        return codes

    monkeypatch.setattr(quantizer, "encode", last_codebook_depends_on_the_batch)
    report = verify_tokens(tokenizer, wavs, batch_size=3)
    assert report.unproven == report.differing > report.tokens / 2


def test_report_counts_every_codebook(model_dir, data_dir, dump, codes, tmp_path):
    command = ["--model", str(model_dir), "--data_dir", str(data_dir), "--output_dir", str(tmp_path), "--steps", "1"]
    assert sitok_synth_systems.main([*command, "--systems", "reconstruction", "--vocoder_conf", "iterations=1"]) == 0
    request = SimpleNamespace(eval_dir=tmp_path, train_tokens=dump, resamples=100, seed=0)
    use, bits = tokenizer_results._test_codebook(request), tokenizer_results._bits(request)
    expected = codebook_use(codes, SIZES)
    assert use["used"] == expected.used and use["perplexity"] == expected.perplexity and len(use["used"]) == 4
    assert tokenizer_results._train_codebook(request) == use  # the same utterances
    assert bits["tokens_per_second"] == "50" and bits["codebook_sizes"] == list(SIZES)
    missing = {"status": "not run", "reason": "-"}
    measured = {"status": "measured"}
    page = tokenizer_section(
        {
            "tokenizer": measured,
            "ctc": {"cer": missing, "wer": missing},
            "codebook": {"train": missing, "test": use | measured},
            "bits_per_second": bits | measured,
            "speed": missing,
        }
    )
    assert "25/2 x (log2(64) + log2(16) + log2(8) + log2(5))" in page
    shares = ", ".join(f"{share:.1%} of {size}" for share, size in zip(use["used"], SIZES, strict=True))
    assert f"| {shares} ({use['tokens']:,} tokens) |" in page
