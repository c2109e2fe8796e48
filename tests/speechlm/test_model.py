"""Losses of the token language model: against a formula, apart from each other, and learnable."""

import pytest
import torch
from tiny_lm import LLAMA, SIZES, tiny_lm, tiny_lm_config, utterances

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.randomness import TrainingDraws
from sitok_espnet.speechlm.espnet_model import SpeechLMModel
from sitok_espnet.speechlm.sequences import make_sequence
from sitok_espnet.speechlm.slots import build_speech_lm
from sitok_espnet.tokens import flatten_codes


def by_utterance(model, items) -> torch.Tensor:
    """Sum of nats of every utterance."""
    nats, where = model.losses_by_utterance(items)
    return torch.zeros(len(items)).index_add(0, where[:, 0], nats)


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
def test_loss_is_that_of_the_plain_model_restricted_to_what_may_stand_there(pattern):
    model, (item,) = tiny_lm(pattern=pattern), utterances(1)
    sequence = make_sequence(model.pattern, *item)
    embeddings = model.lm.model.get_input_embeddings().weight
    inputs = torch.stack(
        [sum(embeddings[i] for i in row if i != model.vocabulary.padding) for row in sequence.inputs.tolist()]
    )
    logits = model.lm.model(inputs_embeds=inputs[None]).logits[0]  # transformers' own causal mask
    expected = 0.0
    for position in range(len(sequence)):
        for stream in range(model.pattern.num_streams):
            codebook = int(sequence.codebooks[position, stream])
            if codebook >= 0:
                choices = list(model.vocabulary.choices(codebook))
                log_p = logits[position, choices].log_softmax(0)
                expected -= log_p[choices.index(int(sequence.targets[position, stream]))]
    torch.testing.assert_close(by_utterance(model, [item])[0], expected)


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
def test_packed_utterances_do_not_see_each_other(pattern):
    model, items = tiny_lm(pattern=pattern), utterances(6)
    alone = torch.cat([by_utterance(model, [item]) for item in items])
    assert len(set(alone.tolist())) == len(items)
    for length in (None, 16, 40, 4096):
        model.pack_length = length
        torch.testing.assert_close(by_utterance(model, items), alone, rtol=1e-4, atol=1e-4)
    changed = [*items[:3], (items[3][0] + 0, (items[3][1] + 1) % torch.tensor(SIZES)), *items[4:]]
    difference = (by_utterance(model, changed) - alone).abs()
    assert difference[3] > 1e-2 and difference[[0, 1, 2, 4, 5]].max() < 1e-4


def padded(items) -> dict[str, torch.Tensor]:
    texts = [text for text, _ in items]
    values = [torch.from_numpy(flatten_codes(codes.numpy(), SIZES)).long() for _, codes in items]
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "text": pad(texts, batch_first=True, padding_value=-1),
        "text_lengths": torch.tensor([len(t) for t in texts]),
        "codes": pad(values, batch_first=True, padding_value=-1),
        "codes_lengths": torch.tensor([len(v) for v in values]),
    }


def test_espnet_batch():
    model, items = tiny_lm(), utterances(4)
    loss, stats, weight = model(**padded(items))
    nats, codebooks = model.losses(items)
    assert int(weight) == len(nats) == sum(codes.numel() + 1 for _, codes in items)
    torch.testing.assert_close(loss.squeeze(), nats.mean())
    torch.testing.assert_close(stats["nats_1"].squeeze(), nats[codebooks == 1].mean().detach())
    broken = padded(items)
    broken["codes"][2, 1] = 0  # a code of codebook 0 in the place of codebook 1
    with pytest.raises(SiTokError, match="utterance c.*codebook 1"):
        model(**broken, utt_id=["a", "utterance b", "utterance c", "d"])


def test_the_first_codebook_may_weigh_more():
    model, items = tiny_lm(model_conf={"first_codebook_weight": 3.0}), utterances(4)
    loss, stats, weight = model(**padded(items))
    nats, codebooks = model.losses(items)
    first, second = nats[codebooks == 0], nats[codebooks == 1]
    assert len(first) == len(second) + len(items)  # the ends are of the first
    expected = (3 * first.sum() + second.sum()) / (3 * len(first) + len(second))
    torch.testing.assert_close(loss.squeeze(), expected)
    torch.testing.assert_close(stats["nats_0"].squeeze(), first.mean().detach())  # not weighted
    # What ESPnet makes of several parts of a batch is what it makes of the whole.
    parts = [model(**padded(part)) for part in (items[:1], items[1:])]
    assert float(weight) == sum(float(part[2]) for part in parts)
    together = sum(part[0] * part[2] for part in parts) / weight
    torch.testing.assert_close(together.squeeze(), expected)


def test_text_is_dropped_in_training_only_and_by_the_generator():
    model, items = tiny_lm(), utterances(4)
    null = model.losses([(None, codes) for _, codes in items])[0].mean()
    batch = padded(items)
    with torch.no_grad():
        seen = model(**batch)[0]
        torch.testing.assert_close(model(**batch)[0], seen)
        model.train()
        draws = [float(model(**batch)[0]) for _ in range(12)]
        torch.manual_seed(3)
        first = model(**batch)[0]
        torch.manual_seed(3)
        assert model(**batch)[0] == first
        model.text_drop = 0.0
        torch.testing.assert_close(model(**batch)[0], seen)
    assert len(set(draws)) > 3 and (null - seen).detach().abs() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(6, 4), (6, 4, 5)])
@pytest.mark.parametrize("pattern", ["flatten", "delay"])
def test_hidden_codes_are_predicted_all_the_same(pattern, sizes):
    conf = {"text_drop": 0.0, "code_drop": 0.999999}
    model, items = tiny_lm(pattern=pattern, sizes=sizes, model_conf=conf), utterances(4, sizes)
    draws = TrainingDraws(4, torch.device("cpu"))
    seen = model.losses(items)[0]
    hidden = model.losses(items, draws)[0]
    blind = tiny_lm(pattern=pattern, sizes=sizes, model_conf=conf)
    # The output layer has rows of its own. Texts and the end, which delay reads beside codes, stay.
    blind.lm.model.get_input_embeddings().weight[model.vocabulary.speech_offsets[0] :] = 0
    torch.testing.assert_close(hidden, blind.losses(items)[0])
    assert len(hidden) == len(seen) and (hidden - seen).abs().max() > 1e-3


@torch.no_grad()
def test_share_of_hidden_steps(monkeypatch):
    model = tiny_lm(pattern="delay", model_conf={"text_drop": 0.0, "code_drop": 0.25, "pack_length": 4096})
    codes = torch.stack([torch.randint(size, (2000,)) for size in SIZES], dim=1)
    model.lm.model.config.max_position_embeddings = 4096
    given = []
    hidden = SpeechLMModel.hidden
    monkeypatch.setattr(
        SpeechLMModel, "hidden", lambda self, inputs, *rest: given.append(inputs) or hidden(self, inputs, *rest)
    )
    batch = padded([(torch.tensor([1, 2]), codes)])
    model(**batch)
    whole = given.pop()[0]
    model.train()
    for _ in range(2):
        torch.manual_seed(0)
        model(**batch)
    assert torch.equal(given[0], given[1])  # seeded
    changed = given[0][0] != whole
    assert (given[0][0][changed] == model.vocabulary.padding).all() and not changed[:4].any()
    steps = changed[4:-1].sum(dim=1)  # both codes of a step, or none; the first and the last step have one
    assert set(steps[1:-1].tolist()) == {0, 2} and abs((steps > 0).float().mean() - 0.25) < 0.05


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
def test_it_learns_what_the_text_says(pattern):
    """The codes follow from the text: conditional nats fall towards zero, with the text taken away they cannot."""
    model = tiny_lm(pattern=pattern, model_conf={"text_drop": 0.2, "pack_length": 256}).train()
    texts = [torch.tensor([a, b]) for a in range(4) for b in range(4)]
    items = [(t, torch.stack([t.repeat(2), (t % 4).repeat(2)], dim=1)) for t in texts]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(0)
    for _ in range(150):
        optimizer.zero_grad()
        model(**padded(items))[0].mean().backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        assert model.losses(items)[0].mean() < 0.1
        assert model.losses([(None, codes) for _, codes in items])[0].mean() > 0.2


def test_gradient_checkpointing_changes_nothing():
    config = {"model_type": "llama", "config": dict(LLAMA)}
    plain, saving = tiny_lm(), tiny_lm(lm_conf=config | {"gradient_checkpointing": True})
    saving.load_state_dict(plain.state_dict())
    gradients = []
    for model in (plain, saving):
        model.train()
        model.text_drop = 0.0
        model(**padded(utterances(3)))[0].mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_bfloat16_autocast_is_close_and_has_gradients(pattern, checkpointing):
    """What use_amp does on GPUs that have bfloat16."""
    conf = {"model_type": "llama", "config": dict(LLAMA), "gradient_checkpointing": checkpointing}
    model = tiny_lm(pattern=pattern, lm_conf=conf, model_conf={"text_drop": 0.0, "pack_length": 40}).train()
    batch = padded(utterances(4))
    expected = float(model(**batch)[0].detach())
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**batch)[0].mean()
    assert float(loss.detach()) == pytest.approx(expected, abs=5e-3) and loss.dtype == torch.float32
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": None}, "no joint vocabulary"),
        ({"lm": "rnn"}, "lm: unknown choice"),
        ({"lm_conf": {"layers": 2}}, "lm_conf has unknown keys: layers"),
        ({"lm_conf": {"config": {"layers": 2}}}, "unknown options layers"),
        ({"lm_conf": {"model_type": "none"}}, "no causal language model"),
        ({"model_conf": {"drop": 1}}, "model_conf has unknown keys: drop"),
        ({"model_conf": {"text_drop": 1.0}}, "text_drop"),
        ({"model_conf": {"code_drop": 1.0}}, "code_drop"),
        ({"model_conf": {"pack_length": 0}}, "pack_length"),
        ({"model_conf": {"first_codebook_weight": 0}}, "first_codebook_weight must be positive, got 0"),
        ({"pattern": "spiral"}, "unknown pattern"),
    ],
)
def test_configurations_that_are_refused(changes, message):
    with pytest.raises(SiTokError, match=message):
        build_speech_lm(tiny_lm_config(**changes))
