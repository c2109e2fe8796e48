"""Backbones: each type that is allowed keeps utterances apart; what would not, or not fit, is refused."""

import json

import pytest
import torch
from lm_dir import make_lm_dir
from tiny_lm import LLAMA, tiny_lm, utterances
from transformers import LlamaConfig, LlamaForCausalLM

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.checkpoint import load_speech_lm, pack_speech_lm
from sitok_espnet.speechlm.generation import GenerationRequest, generate
from sitok_espnet.speechlm.lm.transformers_lm import MODEL_TYPES
from sitok_espnet.speechlm.sampling import TokenSampling
from sitok_espnet.speechlm.text import tokenizer_hash

BASE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
OTHERS = {
    "qwen3": {**LLAMA, "head_dim": 8},
    "mistral": {**LLAMA, "sliding_window": None},
    "phi": BASE,
    "gpt_neox": BASE,
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    "opt": {
        "hidden_size": 16,
        "ffn_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    },
}


def backbone(model_type, **options):
    return {"model_type": model_type, "config": {**OTHERS.get(model_type, LLAMA), **options}}


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@torch.no_grad()
def test_packing_and_batching_change_nothing(model_type):
    model, items = tiny_lm(lm_conf=backbone(model_type)), utterances(5)
    model.pack_length = None
    alone = torch.cat([model.losses([item])[0] for item in items])
    model.pack_length = 4096
    packed, where = model.losses_by_utterance(items)
    order = torch.argsort(where[:, 0], stable=True)  # utterance by utterance, codebooks in order
    torch.testing.assert_close(packed[order], alone, rtol=1e-4, atol=1e-5)
    requests = [GenerationRequest(pieces, codes[:2]) for pieces, codes in items]
    options = TokenSampling(temperature=0, min_frames=6, max_frames=8)
    together = generate(model, requests, options, [0] * 5)
    single = [generate(model, [request], options, [0])[0] for request in requests]
    assert [result.codes.tolist() for result in together] == [result.codes.tolist() for result in single]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (backbone("recurrent_gemma"), "not among those that were tested"),
        ({"model_type": "falcon", "config": {"alibi": True}}, "not among those that were tested"),
        (backbone("mistral", sliding_window=8), "only full attention"),
        (backbone("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1), "sliding_attention"),
        (backbone("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}), "dynamic"),
    ],
)
def test_attention_that_does_not_obey_the_mask_is_refused(conf, message):
    with pytest.raises(SiTokError, match=message):
        tiny_lm(lm_conf=conf)


def test_no_sequence_is_longer_than_the_backbone_knows_positions():
    model, ((pieces, codes),) = tiny_lm(lm_conf=backbone("gpt2", n_positions=12)), utterances(1)
    assert model.lm.max_positions() == 12
    model.losses([(pieces, codes)])  # 2 pieces + 2, 3 frames of 2 codes: 10
    with pytest.raises(SiTokError, match="needs 14 positions of the language model, which has 12"):
        model.losses([(pieces, codes.repeat(2, 1)[:5])])
    request = [GenerationRequest(pieces, codes[:1])]
    generate(model, request, TokenSampling(max_frames=2), [0])
    with pytest.raises(SiTokError, match="max_seconds.*which has 12"):
        generate(model, request, TokenSampling(max_frames=4), [0])


def text_lm(folder, pieces=8, dtype=torch.float32):
    torch.manual_seed(5)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=pieces, **LLAMA)).to(dtype)
    model.save_pretrained(folder)
    return model


def test_a_pretrained_text_model_keeps_its_pieces(tmp_path):
    old = text_lm(tmp_path / "text_lm").get_input_embeddings().weight
    model = tiny_lm(lm="pretrained", lm_conf={"path": str(tmp_path / "text_lm")})
    new = model.lm.model.get_input_embeddings().weight
    assert len(new) == len(model.vocabulary)
    torch.testing.assert_close(new[:8], old)
    assert torch.isfinite(model.losses(utterances(2))[0]).all()
    with pytest.raises(SiTokError, match="holds no model of transformers"):
        tiny_lm(lm="pretrained", lm_conf={"path": str(tmp_path)})


@pytest.mark.parametrize("pieces", [7, 9, 99])
def test_a_text_model_of_other_pieces_is_refused(tmp_path, pieces):
    text_lm(tmp_path, pieces)
    with pytest.raises(SiTokError, match=rf"other text pieces \({pieces},"):
        tiny_lm(lm="pretrained", lm_conf={"path": str(tmp_path)})


def test_as_many_pieces_of_another_tokenizer_are_refused(tmp_path):
    text_lm(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0}))
    assert tokenizer_hash(tmp_path) not in (None, "texts")
    with pytest.raises(SiTokError, match="other text pieces"):
        tiny_lm(lm="pretrained", lm_conf={"path": str(tmp_path)})


def test_weights_published_in_bfloat16_train_in_float32_and_open_again(tiny_tokenizer, tmp_path):
    text_lm(tmp_path / "text_lm", 22, torch.bfloat16)
    folder = make_lm_dir(tmp_path / "lm", tiny_tokenizer, lm="pretrained", lm_conf={"path": str(tmp_path / "text_lm")})
    loaded = load_speech_lm(folder)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert load_speech_lm(pack_speech_lm(folder, tmp_path / "packed")).model_hash == loaded.model_hash
    loaded.model.to(torch.bfloat16)
    torch.save(loaded.model.state_dict(), folder / "bf16.pth")
    assert len(load_speech_lm(folder, "bf16.pth").model_hash) == 16
