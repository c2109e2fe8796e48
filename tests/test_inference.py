"""Class SiTok on the tiny model: promises 1, 3 and 4 of the design."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import yaml
from experiment_dir import make_model_dir
from speech_generator import speech

from sitok_espnet import inference
from sitok_espnet.checkpoint import pack
from sitok_espnet.computing import exact_inference, make_batches
from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig

LENGTHS = [1, 1920, 1921, 5000, 24000, 40001, 72000]


@pytest.fixture(scope="module")
def wavs():
    return [speech(n / 24000, seed=i, speaker=i % 3) for i, n in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def codes(tiny_tokenizer, wavs):
    return tiny_tokenizer.encode(wavs, 24000)


def test_properties(tiny_tokenizer):
    assert tiny_tokenizer.sample_rate == 24000
    assert tiny_tokenizer.frame_rate == Fraction(25, 2)
    assert (tiny_tokenizer.num_codebooks, tiny_tokenizer.codebook_sizes) == (1, (64,))
    assert tiny_tokenizer.bits_per_second == 75.0
    assert tiny_tokenizer.stacking_factor == 4 and len(tiny_tokenizer.model_hash) == 16


def test_codes_have_one_token_for_each_started_1920_samples(wavs, codes):
    for wav, item in zip(wavs, codes, strict=True):
        assert item.dtype == np.int64 and item.shape == (-(-len(wav) // 1920), 1)
    assert len(np.unique(np.concatenate(codes))) > 10  # or every test of equality here would be empty


def test_codes_do_not_depend_on_batch_order_or_padding(tiny_tokenizer, wavs, codes):
    alone = [tiny_tokenizer.encode([wav], 24000)[0] for wav in wavs]
    order = [4, 0, 6, 2, 5, 1, 3]
    shuffled = tiny_tokenizer.encode([wavs[i] for i in order], 24000, batch_seconds=4.0)
    for index, item in enumerate(codes):
        np.testing.assert_array_equal(item, alone[index])
        np.testing.assert_array_equal(item, shuffled[order.index(index)])
        # Zeros up to the end of the last token are what the model appends itself.
        tail = -len(wavs[index]) % 1920
        padded = tiny_tokenizer.encode([np.pad(wavs[index], (0, tail))], 24000)[0]
        np.testing.assert_array_equal(item, padded)


def test_torch_input_is_the_same(tiny_tokenizer, wavs, codes):
    got = tiny_tokenizer.encode([torch.from_numpy(wavs[3]), wavs[4].astype(np.float64)], 24000)
    np.testing.assert_array_equal(got[0], codes[3])
    np.testing.assert_array_equal(got[1], codes[4])


def test_mel_does_not_depend_on_the_batch_but_on_seed_and_tokens(tiny_tokenizer, codes, monkeypatch):
    together = tiny_tokenizer.decode_mel(codes, steps=4, cfg_scale=1.0, seed=3)
    with monkeypatch.context() as smaller:
        smaller.setattr(inference, "DECODE_BATCH_SECONDS", 3.5)
        split = tiny_tokenizer.decode_mel(codes, steps=4, cfg_scale=1.0, seed=3)
    for item, mel, other in zip(codes, together, split, strict=True):
        np.testing.assert_allclose(mel, other, atol=1e-4)
        alone = tiny_tokenizer.decode_mel([item], steps=4, cfg_scale=1.0, seed=3)[0]
        assert mel.shape == (4 * len(item), 128) and mel.dtype == np.float32
        np.testing.assert_allclose(mel, alone, atol=1e-4)
    other_seed = tiny_tokenizer.decode_mel(codes[-1:], steps=4, cfg_scale=1.0, seed=4)[0]
    other_codes = tiny_tokenizer.decode_mel([(codes[-1] + 1) % 64], steps=4, cfg_scale=1.0, seed=3)[0]
    no_guidance = tiny_tokenizer.decode_mel(codes[-1:], steps=4, seed=3)[0]
    for other in (other_seed, other_codes, no_guidance):
        assert np.abs(other - together[-1]).max() > 1e-3


def test_decode_returns_the_requested_samples(tiny_tokenizer, wavs, codes):
    full = tiny_tokenizer.decode(codes, steps=2)
    assert [len(w) for w in full] == [1920 * len(c) for c in codes]
    exact = tiny_tokenizer.decode(codes, steps=2, num_samples=[len(w) for w in wavs])
    assert [len(w) for w in exact] == LENGTHS
    assert all(w.dtype == np.float32 and np.isfinite(w).all() for w in exact)
    again = tiny_tokenizer.resynthesize(wavs, 24000, steps=2)
    for one, two in zip(exact, again, strict=True):
        np.testing.assert_array_equal(one, two)


def test_vocode_cuts_frames_before_the_vocoder(tiny_tokenizer, wavs):
    mel = tiny_tokenizer.log_mel(wavs[3], 24000)
    assert mel.shape == (11, 128)
    loud = np.concatenate([mel, np.full((5, 128), 2.0, dtype=np.float32)])
    first, second = tiny_tokenizer.vocode([mel, loud], [5000, 5000])
    np.testing.assert_array_equal(first, second)
    assert len(tiny_tokenizer.vocode([mel])[0]) == 480 * 11


def test_log_mel_is_the_models_own(tiny_tokenizer, wavs):
    wav = torch.from_numpy(wavs[3])[None]
    expected, _ = tiny_tokenizer.model.feats_extract(wav, torch.tensor([5000]))
    np.testing.assert_array_equal(tiny_tokenizer.log_mel(wavs[3], 24000), expected[0].numpy())


def test_transcribe_joins_the_greedy_pieces(tiny_tokenizer, codes):
    got = tiny_tokenizer.transcribe(codes)
    pieces = tiny_tokenizer.model.token_list
    for item, text in zip(codes, got, strict=True):
        tensor, length = torch.from_numpy(item)[None], torch.tensor([len(item)])
        ids = tiny_tokenizer.model.ctc_greedy(tensor, length)[0]
        expected = "".join(pieces[i] for i in ids).replace("<sos/eos>", "").replace("\u2581", " ").strip()
        assert text == expected
    assert any(got)


def test_empty_list(tiny_tokenizer):
    assert tiny_tokenizer.encode([], 24000) == [] and tiny_tokenizer.decode([]) == []
    assert tiny_tokenizer.transcribe([]) == []


def test_bfloat16_gives_tokens_and_float32_audio(tiny_model_dir, wavs, codes):
    lower = SiTok.from_pretrained(tiny_model_dir, dtype=torch.bfloat16, vocoder_conf={"iterations": 1})
    got = lower.encode(wavs, 24000)
    assert [c.shape for c in got] == [c.shape for c in codes]
    same = np.mean(np.concatenate(got) == np.concatenate(codes))
    assert 0.5 < same < 1.0  # else it was not bfloat16 at all
    assert lower.decode(got[:1], steps=1)[0].dtype == np.float32


def test_untrained_checkpoint_has_another_hash(tiny_model_dir, tiny_tokenizer):
    untrained = SiTok.from_pretrained(tiny_model_dir, checkpoint="untrained")
    assert untrained.model_hash != tiny_tokenizer.model_hash


@pytest.mark.parametrize("setting", ["ieee", "tf32"])
def test_tf32_is_off_inside_and_restored(setting):
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = setting
        with pytest.raises(KeyError), exact_inference():
            assert matmul.fp32_precision == "ieee" and torch.is_inference_mode_enabled()
            raise KeyError
        assert matmul.fp32_precision == setting and not torch.is_inference_mode_enabled()
    finally:
        matmul.fp32_precision = before


def test_make_batches():
    assert make_batches([], 10) == []
    assert make_batches([5, 50, 5, 4], 10) == [[1], [0, 2], [3]]
    lengths = np.random.default_rng(0).integers(1, 100, 50).tolist()
    batches = make_batches(lengths, 200)
    assert sorted(i for batch in batches for i in batch) == list(range(50))
    assert all(len(batch) * max(lengths[i] for i in batch) <= 200 for batch in batches)


@pytest.mark.parametrize(
    ("wavs", "rate", "message"),
    [
        ([np.zeros(100, np.float32)], 16000, r"16000 Hz.*24000 Hz.*resample\(wav, 16000, 24000\).*--resample"),
        ([np.zeros(100), np.zeros(0)], 24000, "waveform 1: no samples"),
        ([np.zeros((2, 100))], 24000, r"waveform 0: expected one channel.*\(2, 100\)"),
        ([np.array([0.0, np.nan])], 24000, "waveform 0: NaN or infinite.*sample 1"),
        ([np.array([np.inf])], 24000, "waveform 0: NaN or infinite"),
        ([np.zeros(100, np.int16)], 24000, "waveform 0: samples are int16.*32768"),
        (np.zeros(100, np.float32), 24000, r"list of 1-D waveforms.*pass \[wav\]"),
    ],
)
def test_encode_refuses(tiny_tokenizer, wavs, rate, message):
    with pytest.raises(SiTokError, match=message):
        tiny_tokenizer.encode(wavs, rate)


def test_encode_refuses_bad_batch_seconds(tiny_tokenizer):
    with pytest.raises(SiTokError, match="batch_seconds"):
        tiny_tokenizer.encode([np.zeros(10, np.float32)], 24000, batch_seconds=0)


@pytest.mark.parametrize(
    ("codes", "options", "message"),
    [
        ([np.array([[64]])], {}, "codes 0: unknown code 64 at token 0, codebook 0.*0 to 63.*another model"),
        ([np.array([[0], [-1]])], {}, "unknown code -1 at token 1"),
        ([np.array([0, 1])], {}, r"codes 0: expected shape \(T, 1\).*\(2,\)"),
        ([np.zeros((3, 2), int)], {}, r"expected shape \(T, 1\).*\(3, 2\)"),
        ([np.zeros((0, 1), int)], {}, "T >= 1"),
        ([np.zeros((3, 1))], {}, "must be integers, got float64"),
        (np.zeros((3, 1), int), {}, r"pass \[codes\]"),
        ([np.zeros((3, 1), int)], {"num_samples": [3840]}, r"num_samples\[0\] is 3840, but 3 tokens.*3841 to 5760"),
        ([np.zeros((3, 1), int)], {"num_samples": [5761]}, r"num_samples\[0\] is 5761"),
        ([np.zeros((3, 1), int)], {"num_samples": []}, "1 utterances but 0 lengths"),
        ([np.zeros((3, 1), int)], {"steps": 0}, "steps"),
        ([np.zeros((3, 1), int)], {"cfg_scale": -1.0}, "cfg_scale"),
        ([np.zeros((3, 1), int)], {"temperature": 2.5}, "temperature must be a number from 0 to 2, or None, got 2.5"),
        ([np.zeros((3, 1), int)], {"temperature": float("nan")}, "temperature"),
        ([np.zeros((3, 1), int)], {"temperature": False}, "temperature"),
        ([np.zeros((3, 1), int)], {"seed": -1}, "seed"),
        ([np.zeros((3, 1), int)], {"seed": 1.5}, "seed"),
    ],
)
def test_decode_refuses(tiny_tokenizer, codes, options, message):
    with pytest.raises(SiTokError, match=message):
        tiny_tokenizer.decode(codes, **options)


def test_vocode_refuses(tiny_tokenizer):
    mel = np.zeros((4, 128), np.float32)
    with pytest.raises(SiTokError, match=r"mel 0 has shape \(4, 80\)"):
        tiny_tokenizer.vocode([mel[:, :80]])
    with pytest.raises(SiTokError, match=r"num_samples\[0\] is 1921, but 4 mel frames hold 1 to 1920"):
        tiny_tokenizer.vocode([mel], [1921])
    with pytest.raises(SiTokError, match="1 mels but 2 lengths"):
        tiny_tokenizer.vocode([mel], [1, 2])


def test_resynthesize_refuses_num_samples(tiny_tokenizer, wavs):
    with pytest.raises(SiTokError, match="num_samples"):
        tiny_tokenizer.resynthesize(wavs[:1], 24000, num_samples=[1])


def test_model_without_ctc_cannot_transcribe(tmp_path, codes):
    model = SiTok.from_pretrained(make_model_dir(tmp_path / "exp", ctc=None))
    with pytest.raises(SiTokError, match="no CTC branch.*cannot transcribe"):
        model.transcribe(codes)


def test_continuous_model_is_refused_by_name(tiny_tokenizer, wavs, codes, monkeypatch):
    monkeypatch.setattr(type(tiny_tokenizer.model.quantizer), "codebook_sizes", ())
    monkeypatch.setitem(tiny_tokenizer.config, "quantizer", "identity")
    for call in (lambda: tiny_tokenizer.encode(wavs, 24000), lambda: tiny_tokenizer.decode(codes)):
        with pytest.raises(SiTokError, match=r"quantizer \(identity\) is continuous"):
            call()


def test_from_pretrained_refuses(tmp_path, tiny_model_dir):
    with pytest.raises(SiTokError, match="config.yaml"):
        SiTok.from_pretrained(tmp_path)
    with pytest.raises(SiTokError, match="device 'abacus'"):
        SiTok.from_pretrained(tiny_model_dir, device="abacus")
    with pytest.raises(SiTokError, match="dtype must be one of float32, bfloat16"):
        SiTok.from_pretrained(tiny_model_dir, dtype=torch.float16)
    with pytest.raises(SiTokError, match="unknown vocoder"):
        SiTok.from_pretrained(tiny_model_dir, vocoder="wavenet")


def test_the_temperature_is_of_the_noise(tiny_tokenizer, codes):
    """1 is what it has always been; without noise no seed matters."""
    few, options = codes[:2], {"steps": 2, "seed": 3}
    plain = tiny_tokenizer.decode(few, **options)
    for one, other in zip(plain, tiny_tokenizer.decode(few, temperature=1.0, **options), strict=True):
        np.testing.assert_array_equal(one, other)
    still = tiny_tokenizer.decode(few, temperature=0, **options)
    other_seed = tiny_tokenizer.decode(few, temperature=0, steps=2, seed=4)
    for one, other, third in zip(still, other_seed, plain, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.abs(one - third).max() > 1e-3


def test_a_packed_model_has_its_own_temperature(tiny_model_dir, codes, tmp_path):
    usual = SiTok.from_pretrained(tiny_model_dir)
    folder = pack(tiny_model_dir, tmp_path / "packed", temperature=np.float32(0.5))
    packed = SiTok.from_pretrained(folder)
    assert packed.config["inference_conf"] == {"temperature": 0.5} and packed.model_hash == usual.model_hash
    mels = {tau: usual.decode_mel(codes[:1], 2, temperature=tau)[0] for tau in (None, 0.5, 1.0)}
    np.testing.assert_array_equal(packed.decode_mel(codes[:1], 2)[0], mels[0.5])
    np.testing.assert_array_equal(packed.decode_mel(codes[:1], 2, temperature=1.0)[0], mels[1.0])
    np.testing.assert_array_equal(mels[None], mels[1.0])
    assert packed.sampling() == SamplingConfig(16, 0.0, 0.5) and usual.sampling() == SamplingConfig(16, 0.0, 1.0)
    with pytest.raises(SiTokError, match="inference_conf.*temperature must be a number from 0 to 2"):
        pack(tiny_model_dir, tmp_path / "none", temperature=3.0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("found", [{"step": 3}, [3], {"steps": 0}, {"temperature": True}])
def test_bad_defaults_in_a_configuration_are_said(tiny_model_dir, tmp_path, found):
    folder = pack(tiny_model_dir, tmp_path / "packed")
    config = yaml.safe_load((folder / "config.yaml").read_text()) | {"inference_conf": found}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SiTokError, match=r"inference_conf in config\.yaml"):
        SiTok.from_pretrained(folder)


def test_a_packed_model_has_its_own_number_of_steps(tiny_model_dir, codes, tmp_path):
    packed = SiTok.from_pretrained(pack(tiny_model_dir, tmp_path / "packed", steps=3))
    usual = SiTok.from_pretrained(tiny_model_dir)
    mels = {steps: usual.decode_mel(codes[:1], steps)[0] for steps in (None, 3, 5, 16)}
    np.testing.assert_array_equal(packed.decode_mel(codes[:1])[0], mels[3])
    np.testing.assert_array_equal(packed.decode_mel(codes[:1], 5)[0], mels[5])
    np.testing.assert_array_equal(mels[None], mels[16])
    assert not np.allclose(mels[3], mels[16])
    assert packed.model_hash == usual.model_hash
    with pytest.raises(SiTokError, match="inference_conf.*steps must be a whole number"):
        pack(tiny_model_dir, tmp_path / "none", steps=0)
