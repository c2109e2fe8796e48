"""Class SiTok with the other decoders and with mel prompts: promises 3 and 4."""

import numpy as np
import pytest
from experiment_dir import make_model_dir
from speech_generator import speech
from tiny import TINY

from sitok_espnet.checkpoint import pack
from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok

LAYERS = {key: TINY["decoder_conf"][key] for key in ("hidden_size", "intermediate_size", "num_heads")}
CONF = {
    "flow_matching": {"num_layers": 2, "prediction": "x", "prompt": True},
    "flow_matching_light": {
        "num_body_layers": 1,
        "num_head_layers": 1,
        "prediction": "x",
        "prompt": True,
        "shortcut": True,
    },
    "regression": {"num_layers": 2},
}


def open_with(directory, name, **changes):
    make_model_dir(directory, decoder=name, decoder_conf={**LAYERS, **CONF[name], **changes})
    return SiTok.from_pretrained(directory, vocoder_conf={"iterations": 2})


@pytest.fixture(scope="module", params=list(CONF))
def tokenizer(request, tmp_path_factory):
    return open_with(tmp_path_factory.mktemp(request.param) / "exp", request.param)


@pytest.fixture(scope="module", params=["flow_matching", "flow_matching_light"])
def prompted(request, tmp_path_factory):
    return open_with(tmp_path_factory.mktemp("prompted") / "exp", request.param)


@pytest.fixture(scope="module")
def wavs():
    return [speech(n / 24000, seed=i, speaker=i % 3) for i, n in enumerate([1, 5000, 24000, 40001])]


def prompt_of(tokenizer, seconds, seed):
    wav = speech(seconds, seed=seed, speaker=seed)
    return tokenizer.encode([wav], 24000)[0], tokenizer.log_mel(wav, 24000)


def test_decoding_does_not_depend_on_the_batch(tokenizer, wavs):
    codes = tokenizer.encode(wavs, 24000)
    options = {"steps": 4, "cfg_scale": 1.0} if tokenizer.model.decoder.iterative else {}
    together = tokenizer.decode_mel(codes, seed=3, **options)
    for item, mel in zip(codes, together, strict=True):
        np.testing.assert_allclose(mel, tokenizer.decode_mel([item], seed=3, **options)[0], atol=1e-4)
    other = tokenizer.decode_mel([(codes[-1] + 1) % 64], seed=3, **options)[0]
    assert np.abs(other - together[-1]).max() > 1e-3
    other_seed = tokenizer.decode_mel(codes[-1:], seed=4, **options)[0]
    assert (np.abs(other_seed - together[-1]).max() > 1e-3) == tokenizer.model.decoder.iterative


def test_regression_refuses_steps_guidance_and_prompts(tmp_path, wavs):
    tokenizer = open_with(tmp_path / "exp", "regression")
    codes = tokenizer.encode(wavs[1:2], 24000)
    assert len(tokenizer.decode(codes)[0]) == 5760
    with pytest.raises(SiTokError, match="regression decoder has no solver steps"):
        tokenizer.decode(codes, steps=16)
    with pytest.raises(SiTokError, match="regression decoder has no guidance"):
        tokenizer.decode(codes, cfg_scale=0.5)
    for options in ({"temperature": 1.0}, {"temperature": 0.0, "chunk_seconds": 0.1}):
        with pytest.raises(SiTokError, match=r"regression decoder has no noise: leave temperature \(--temperature\)"):
            tokenizer.decode(codes, **options)
    for defaults in ({"steps": 4}, {"temperature": 0.5}):
        with pytest.raises(SiTokError, match=f"does not iterate: leave out the default of {next(iter(defaults))}"):
            pack(tmp_path / "exp", tmp_path / "packed", **defaults)
    with pytest.raises(SiTokError, match="trained without mel prompts.*prompt: true"):
        tokenizer.decode(codes, prompt=[(codes[0], np.zeros((12, 128)))])


def test_prompted_alone_equals_prompted_among_unprompted(prompted, wavs):
    codes = prompted.encode(wavs, 24000)
    prompts = [prompt_of(prompted, 0.5, 7), None, prompt_of(prompted, 1.21, 8), None]
    options = {"steps": 4, "cfg_scale": 0.5, "seed": 3}
    together = prompted.decode_mel(codes, prompt=prompts, **options)
    plain = prompted.decode_mel(codes, **options)
    for item, prompt, mel, without in zip(codes, prompts, together, plain, strict=True):
        assert mel.shape == (4 * len(item), 128)
        alone = prompted.decode_mel([item], prompt=[prompt], **options)[0]
        np.testing.assert_allclose(mel, alone, atol=1e-4)
        if prompt is None:
            np.testing.assert_allclose(mel, without, atol=1e-4)
        else:
            assert np.abs(mel - without).max() > 1e-2


def test_a_prompt_is_mel_and_codes_and_its_last_token_may_be_unfinished(prompted, wavs):
    codes = prompted.encode(wavs[2:3], 24000)
    before, mel = prompt_of(prompted, 0.5, 7)
    assert len(mel) == 25 and len(before) == 7
    base = prompted.decode_mel(codes, steps=2, prompt=[(before, mel)])[0]
    floor = np.full((3, 128), np.log(1e-5), dtype=np.float32)
    np.testing.assert_array_equal(
        base, prompted.decode_mel(codes, steps=2, prompt=[(before, np.concatenate([mel, floor]))])[0]
    )
    louder = prompted.decode_mel(codes, steps=2, prompt=[(before, mel + 1)])[0]
    others = prompted.decode_mel(codes, steps=2, prompt=[((before + 1) % 64, mel)])[0]
    for other in (louder, others):
        assert np.abs(base - other).max() > 1e-3


def test_prompt_with_lengths_and_audio(prompted, wavs):
    codes = prompted.encode(wavs[1:3], 24000)
    out = prompted.decode(codes, steps=1, num_samples=[5000, 24000], prompt=[prompt_of(prompted, 0.4, 2), None])
    assert [len(wav) for wav in out] == [5000, 24000]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "1 utterances but 0 prompts"),
        ([(np.zeros((3, 1), int), np.zeros((13, 128)))], "prompt 0: 3 tokens stand for 9 to 12 mel frames.*has 13"),
        ([(np.zeros((3, 1), int), np.zeros((8, 128)))], "has 8"),
        ([(np.zeros((3, 1), int), np.zeros((12, 80)))], r"prompt 0: the mel has shape \(12, 80\)"),
        ([(np.zeros((3, 1), int), np.full((12, 128), np.nan))], "prompt 0: the mel has NaN"),
        ([(np.full((3, 1), 64), np.zeros((12, 128)))], "prompt 0: unknown code 64"),
        ([np.zeros((3, 1), int)], r"prompt 0: expected \(codes, log_mel\), got ndarray"),
    ],
)
def test_bad_prompts_are_explained(prompted, prompt, message):
    with pytest.raises(SiTokError, match=message):
        prompted.decode([np.zeros((2, 1), int)], prompt=prompt)


def test_a_prompt_never_comes_from_the_target(prompted, wavs):
    codes = prompted.encode(wavs[2:], 24000)
    mels = [prompted.log_mel(wav, 24000) for wav in wavs[2:]]
    for length in (1, 5, len(codes[1])):
        prompt = (codes[1][:length], mels[1][: 4 * length])
        for options in ({}, {"chunk_seconds": 0.5}):
            with pytest.raises(SiTokError, match="prompt 1: its codes are those with which the target begins"):
                prompted.decode(codes, steps=1, prompt=[None, prompt], **options)
    later = (codes[1][5:], mels[1][20:])
    assert len(prompted.decode_mel(codes, steps=1, prompt=[later, later])) == 2


def test_a_continuous_model_takes_no_prompt(tmp_path, wavs):
    conf = {**LAYERS, **CONF["flow_matching"]}
    tokenizer = SiTok.from_pretrained(
        make_model_dir(tmp_path / "exp", quantizer="identity", quantizer_conf={}, decoder_conf=conf)
    )
    latents = tokenizer.analyze(wavs[2:3], 24000)
    with pytest.raises(SiTokError, match="continuous: leave prompt out"):
        tokenizer.decode(latents, prompt=[(latents[0], tokenizer.log_mel(wavs[2], 24000))])


def test_a_model_without_prompts_refuses_them(tiny_tokenizer):
    codes = [np.zeros((2, 1), int)]
    plain = tiny_tokenizer.decode_mel(codes, steps=1)[0]
    np.testing.assert_array_equal(plain, tiny_tokenizer.decode_mel(codes, steps=1, prompt=[None])[0])
    with pytest.raises(SiTokError, match="trained without mel prompts.*prompt: true"):
        tiny_tokenizer.decode(codes, prompt=[prompt_of(tiny_tokenizer, 0.5, 1)])
