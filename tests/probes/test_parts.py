"""Adapters, bodies and heads of probes: every YAML builds, padding never counts, known answers."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml

from sitok_espnet.errors import SiTokError
from sitok_espnet.probes.adapter.tokens import TokenAdapter
from sitok_espnet.probes.card import InputCard
from sitok_espnet.probes.masked import masked_statistics, time_mask
from sitok_espnet.probes.slots import PROBE_SLOTS, build_probe
from sitok_espnet.probes.tasks import TASKS

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(ROOT.glob("conf/probe/*.yaml")) + sorted(ROOT.glob("egs2/*/sitok_probe1/conf/probe/*.yaml"))
TOKENS = {
    "input": "tokens", "width": 3, "frame_rate": "25", "model_hash": "m", "codes_hash": "c", "utterances": 4,
    "codebook_sizes": [8, 4, 4],
}  # fmt: skip
MEL = {**TOKENS, "input": "mel", "width": 6, "codebook_sizes": []}
NAMES = ["<blank>", "<unk>", "a", "b", "c", "<sos/eos>"]
SMALL = {
    "bilstm": {"hidden_size": 6, "num_layers": 2},
    "contextnet": {"channels": 8, "num_blocks": 2, "kernel_size": 3},
    "xvector": {"channels": 8, "pooled_channels": 10, "embedding_size": 5},
    "ecapa_tdnn": {"channels": 8, "scale": 4, "attention_size": 6, "embedding_size": 5},
}


def small_config(body: str, head: str, card: dict = MEL, **changes) -> dict:
    adapter = "tokens" if card["codebook_sizes"] else "frames"
    config = {
        "input_adapter": adapter,
        "input_adapter_conf": {"size": 8},
        "body": body,
        "body_conf": SMALL.get(body, {}),
    }
    return {**config, "head": head, "card": card, "target_list": NAMES, **changes}


def small_probe(body: str, head: str, card: dict = MEL, **changes):
    torch.manual_seed(0)
    return build_probe(small_config(body, head, card, **changes)).eval()


def batch(card: dict, lengths=(9, 5, 14)):
    """Features with rubbish in the padding, and the lengths."""
    generator = torch.Generator().manual_seed(1)
    shape = (len(lengths), max(lengths), card["width"])
    if card["codebook_sizes"]:
        feats = torch.randint(0, 4, shape, generator=generator)
        for row, length in enumerate(lengths):
            feats[row, length:] = -1
    else:
        feats = torch.randn(shape, generator=generator)
    return feats, torch.tensor(lengths)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: "-".join((*path.parts[-5:-3], path.stem)))
@pytest.mark.parametrize("card", [TOKENS, MEL], ids=["tokens", "mel"])
def test_every_shipped_yaml_builds_for_every_input(path, card):
    config = yaml.safe_load(path.read_text())
    adapter = "tokens" if card["codebook_sizes"] else "frames"
    with torch.device("meta"):
        model = build_probe({**config, "input_adapter": adapter, "card": card, "target_list": NAMES})
    assert sum(p.numel() for p in model.parameters()) > 0
    assert config["best_model_criterion"] == [["valid", "error", "min"]]


def test_every_task_has_its_yamls_in_every_place():
    for folder in {path.parent for path in CONFIGS}:
        names = {path.stem for path in folder.glob("*.yaml")}
        assert {probe for task in TASKS.values() for probe in task.probes} == names


def test_large_and_small_yamls_have_the_same_slots():
    for path in CONFIGS:
        large = yaml.safe_load((ROOT / "conf/probe" / path.name).read_text())
        assert {k: large[k] for k in ("body", "head")} == {
            k: yaml.safe_load(path.read_text())[k] for k in ("body", "head")
        }


@pytest.mark.parametrize("card", [TOKENS, MEL], ids=["tokens", "mel"])
@pytest.mark.parametrize("body", PROBE_SLOTS["body"].choices)
def test_padding_is_as_if_it_were_not_there(body, card):
    pools = PROBE_SLOTS["body"].choices[body].pools
    probe = small_probe(body, "softmax" if pools else "ctc", card)
    feats, lengths = batch(card)
    together = probe.embed(feats, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = probe.embed(feats[row : row + 1, :length], lengths[row : row + 1])[0]
        in_batch = together[row] if pools else together[row, :length]
        torch.testing.assert_close(in_batch, alone, rtol=1e-4, atol=1e-5)
    changed = feats.clone()
    changed[1, 6:] = 3  # padding of the second
    others = probe.embed(changed, lengths)
    torch.testing.assert_close(others[1] if pools else others[1, :5], together[1] if pools else together[1, :5])


def test_the_body_sees_what_is_not_padding():
    probe = small_probe("ecapa_tdnn", "softmax")
    feats, lengths = batch(MEL)
    changed = feats.clone()
    changed[1, 4] += 1.0
    assert not torch.allclose(probe.embed(changed, lengths)[1], probe.embed(feats, lengths)[1], atol=1e-4)


def test_statistics_are_those_of_the_valid_frames():
    x = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))
    found = masked_statistics(x, time_mask(torch.tensor([4, 7]), x))
    torch.testing.assert_close(found[0, :3], x[0, :4].mean(0))
    torch.testing.assert_close(found[0, 3:], x[0, :4].std(0, correction=0))


def test_token_adapter_is_a_weighted_sum_of_the_codebooks_rows():
    torch.manual_seed(0)
    card = InputCard(**{**TOKENS, "codebook_sizes": (8, 4, 4)})
    codes = torch.tensor([[[7, 0, 3]]])
    adapter = TokenAdapter(card, 5, combine="weights").eval()
    rows = adapter.table.weight[[7, 8, 15]]
    torch.testing.assert_close(adapter(codes)[0, 0], rows.mean(0))  # equal weights at the start
    attention = TokenAdapter(card, 5).eval()
    rows = attention.table.weight[[7, 8, 15]]
    weights = F.softmax(attention.score(rows), dim=0)
    torch.testing.assert_close(attention(codes)[0, 0], (weights * rows).sum(0))
    with pytest.raises(SiTokError, match="attention or weights"):
        TokenAdapter(card, 5, combine="sum")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"head": "ctc", "body": "time_pooling"}, "head ctc reads frames.*bilstm"),
        ({"head": "softmax", "body": "bilstm", "body_conf": {}}, "one vector an utterance.*time_pooling"),
        ({"input_adapter": "tokens"}, "cannot read the input mel: --input_adapter frames"),
        ({"input_adapter_conf": {"width": 3}}, "unknown keys: width"),
        ({"body": "mamba"}, "unknown choice 'mamba'"),
        ({"card": None}, "input card"),
        ({"body": "ecapa_tdnn", "body_conf": {"channels": 10, "scale": 4}}, "multiple of scale"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(SiTokError, match=message):
        build_probe({**small_config("time_pooling", "softmax"), **changes})


def test_classification_counts_errors_and_the_margin_makes_training_harder():
    feats, lengths = batch(MEL)
    target, one = torch.tensor([[2], [3], [4]]), torch.ones(3, dtype=torch.long)
    for head in ("softmax", "aam_softmax"):
        probe = small_probe("time_pooling", head)
        x = probe.embed(feats, lengths)
        found = probe.head.loss(x, lengths, target, one)
        scores = probe.head.scores(x)
        assert found.errors == (scores.argmax(1) != target[:, 0]).sum() and found.units == 3
        assert probe.predict(feats, lengths) == scores.argmax(1, keepdim=True).tolist()
        if head == "softmax":
            torch.testing.assert_close(found.loss, F.cross_entropy(scores, target[:, 0]))
        else:
            angle = scores.acos() + 0.2 * F.one_hot(target[:, 0], len(NAMES))
            torch.testing.assert_close(
                found.loss, F.cross_entropy(30.0 * angle.cos(), target[:, 0]), rtol=1e-4, atol=1e-4
            )


def test_ctc_errors_are_edit_distances_of_the_greedy_reading():
    probe = small_probe("bilstm", "ctc")
    feats, lengths = batch(MEL)
    target, counts = torch.tensor([[2, 3], [4, -1], [2, 2]]), torch.tensor([2, 1, 2])
    read = probe.predict(feats, lengths)

    def distance(a, b):  # by the definition
        if not a or not b:
            return len(a) + len(b)
        return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))

    expected = sum(distance(target[i, : counts[i]].tolist(), read[i]) for i in range(3))
    found = probe.head.loss(probe.embed(feats, lengths), lengths, target, counts)
    assert found.errors == expected and found.units == 5
    _, stats, weight = probe(feats, lengths, target, counts)
    assert stats["error"] == pytest.approx(expected / 5) and weight == 5
    assert probe.train()(feats, lengths, target, counts)[1].keys() == {"loss"}


@pytest.fixture(scope="module")
def lm_probe():
    conf = {"hidden_size": 16, "intermediate_size": 24, "num_layers": 2, "num_heads": 2, "dropout": 0.0}
    return small_probe("identity", "language_model", head_conf=conf)


def test_language_model_loss_is_that_of_the_pieces_alone_whatever_the_batch(lm_probe):
    feats, lengths = batch(MEL)
    target, counts = torch.tensor([[2, 3], [4, -1], [2, 2]]), torch.tensor([2, 1, 2])
    with torch.no_grad():
        whole = lm_probe.head.loss(lm_probe.embed(feats, lengths), lengths, target, counts)
        total = 0.0
        for row in range(3):
            length, count = int(lengths[row]), int(counts[row])
            frames = lm_probe.head.input(lm_probe.embed(feats[row : row + 1, :length], lengths[row : row + 1]))
            text = torch.tensor([[5, *target[row, :count].tolist()]])
            inputs = torch.cat([frames, lm_probe.head.model.get_input_embeddings()(text)], dim=1)
            logits = lm_probe.head.model(inputs_embeds=inputs).logits[0, length:]
            answer = torch.tensor([*target[row, :count].tolist(), 5])
            total += F.cross_entropy(logits, answer, reduction="sum").item()
    assert whole.units == 5 + 3
    assert whole.loss.item() == pytest.approx(total / 8, rel=1e-4)


def test_language_model_reads_greedily_until_the_end(lm_probe):
    feats, lengths = batch(MEL)
    read = lm_probe.predict(feats, lengths)
    with torch.no_grad():
        for row, length in enumerate(lengths.tolist()):
            inputs = lm_probe.head.input(lm_probe.embed(feats[row : row + 1, :length], lengths[row : row + 1]))
            ids = []
            for _ in range(length):
                text = lm_probe.head.model.get_input_embeddings()(torch.tensor([[5, *ids]]))
                best = int(lm_probe.head.model(inputs_embeds=torch.cat([inputs, text], 1)).logits[0, -1].argmax())
                if best == 5:
                    break
                ids.append(best)
            assert read[row] == ids
