"""Metrics whose weights must be at hand, on tiny random models saved as the real ones are: the real API, no network.

A random model understands nothing, so the words it "hears" are checked against the library called by hand.
"""

import json
import re
import sys

import numpy as np
import pytest
import torch
from speech_generator import speech
from tiny_whisper import save_whisper

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import whisper
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.local_models import hash_weights
from sitok_espnet.evaluate.metrics import METRICS, OPTIONAL_METRICS, MetricContext, Sample, build_metric

RATE = 16000
VARIABLES = {"whisper_wer": "SITOK_WHISPER", "hubert_wer": "SITOK_HUBERT", "wavlm_sim": "SITOK_WAVLM"}
CONVOLUTIONS = {"conv_dim": (8,) * 7, "num_feat_extract_layers": 7}  # with the strides and kernels of the real ones
TRANSFORMER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
POSITIONS = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}


@pytest.fixture(autouse=True)
def _nothing_at_hand(monkeypatch, tmp_path):
    """The developer's own models are not looked at, and no hub is asked."""
    for name in (*VARIABLES.values(), "SITOK_UTMOS", "SITOK_METRIC_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(whisper, "FETCHED", tmp_path / "downloads")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def refuse(*_, **__):
        raise AssertionError("a metric tried the network")

    monkeypatch.setattr("socket.socket.connect", refuse)


def save_hubert(folder):
    from transformers import (
        HubertConfig,
        HubertForCTC,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2Processor,
    )

    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAOINSHRDLU"]
    (folder / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    Wav2Vec2Processor(extractor, Wav2Vec2CTCTokenizer(folder / "vocab.json")).save_pretrained(folder)
    torch.manual_seed(0)
    HubertForCTC(HubertConfig(vocab_size=len(letters), **TRANSFORMER, **CONVOLUTIONS, **POSITIONS)).save_pretrained(
        folder
    )
    return folder


def save_wavlm(folder):
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

    torch.manual_seed(0)
    vectors = {"tdnn_dim": (16,) * 5, "tdnn_kernel": (5, 3, 3, 1, 1), "tdnn_dilation": (1, 2, 3, 1, 1)}
    config = WavLMConfig(xvector_output_dim=12, **vectors, **TRANSFORMER, **CONVOLUTIONS, **POSITIONS)
    WavLMForXVector(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    return folder


SAVE = {"whisper_wer": save_whisper, "hubert_wer": save_hubert, "wavlm_sim": save_wavlm}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save(tmp_path_factory.mktemp(f"tiny_{name}")) for name, save in SAVE.items()}


def build(name, folders, monkeypatch, context=MetricContext()):  # noqa: B008 (frozen)
    monkeypatch.setenv(VARIABLES[name], str(folders[name]))
    return build_metric(name, context)


def test_only_where_asked_for():
    assert not set(OPTIONAL_METRICS) & set(METRICS)


@pytest.mark.parametrize("name", VARIABLES)
def test_missing_weights_say_how_to_get_them(name, monkeypatch):
    with pytest.raises(MetricUnavailable) as caught:
        build_metric(name, MetricContext())
    message = str(caught.value)
    assert 'not on this machine: python -c "from transformers import' in message
    assert f"export {VARIABLES[name]}=DIR" in message
    command = message.split('"')[1]
    compile(command, "remedy", "exec")
    monkeypatch.setenv(VARIABLES[name], "/no/such/folder")
    with pytest.raises(MetricUnavailable, match=f"{VARIABLES[name]}=folder: no such directory"):
        build_metric(name, MetricContext())


@pytest.mark.parametrize("name", [*VARIABLES, "utmos"])
def test_reasons_name_no_path_but_the_log_does(name, monkeypatch, tmp_path, caplog):
    """Reasons are printed in tables, which are published."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.setenv(VARIABLES.get(name, "SITOK_UTMOS"), str(folder))
    broken = f"raise ValueError({str(folder)!r})"
    for hubconf in (None, broken):
        if hubconf:
            (folder / "hubconf.py").write_text(hubconf)
        with pytest.raises(MetricUnavailable, match="weights") as caught:
            build_metric(name, MetricContext())
        assert str(tmp_path) not in str(caught.value)
    assert str(folder) in caplog.text


@pytest.mark.parametrize("name", VARIABLES)
def test_cards_name_the_weights_but_no_path(name, folders, monkeypatch):
    metric = build(name, folders, monkeypatch)
    card = metric.card()
    assert card["name"] == name and card["sample_rate"] == RATE
    assert folders[name].name in card["model"] and "/" not in card["model"]
    assert card["version"].startswith("transformers 5") and "weights " in card["version"]
    json.dumps(card)
    assert build_metric(name, MetricContext()).fingerprint() == metric.fingerprint()


def test_other_weights_are_another_metric(folders, monkeypatch, tmp_path):
    from transformers import WavLMForXVector

    before = build("wavlm_sim", folders, monkeypatch)
    model = WavLMForXVector.from_pretrained(folders["wavlm_sim"])
    with torch.no_grad():
        model.projector.bias[0] += 1
    changed = tmp_path / folders["wavlm_sim"].name
    changed.mkdir()
    for file in folders["wavlm_sim"].iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    model.save_pretrained(changed)
    monkeypatch.setenv("SITOK_WAVLM", str(changed))
    after = build_metric("wavlm_sim", MetricContext())
    assert after.model == before.model and after.fingerprint() != before.fingerprint()


def test_weights_of_another_class_are_refused(folders, monkeypatch):
    """transformers itself would fill in random numbers and go on."""
    monkeypatch.setenv("SITOK_WAVLM", str(folders["hubert_wer"]))
    with pytest.raises(MetricUnavailable, match="WavLMForXVector.*SITOK_WAVLM=DIR"):
        build_metric("wavlm_sim", MetricContext())


def test_hash_of_weights():
    one, two = {"a": torch.ones(2)}, {"a": torch.ones(2) + 1e-7}
    assert hash_weights(one) == hash_weights({"a": torch.ones(2)}) != hash_weights(two)


def test_devices(folders, monkeypatch):
    for wrong in ("nonsense", "cuda:77"):
        monkeypatch.setenv("SITOK_METRIC_DEVICE", wrong)
        with pytest.raises(MetricUnavailable, match=f"SITOK_METRIC_DEVICE={wrong}: no such device"):
            build("wavlm_sim", folders, monkeypatch)


# ---------------------------------------------------------------- HuBERT


def test_hubert_is_greedy_ctc(folders, monkeypatch):
    from transformers import HubertForCTC

    metric = build("hubert_wer", folders, monkeypatch)
    wav = speech(1.0, 0, 0, RATE)
    measured = metric.measure(Sample("u", wav, wav, RATE, "one two"))
    model = HubertForCTC.from_pretrained(folders["hubert_wer"]).eval()
    normal = (wav - wav.mean()) / np.sqrt(wav.var() + 1e-7)
    with torch.no_grad():
        path = model(torch.from_numpy(normal)[None].float()).logits[0].argmax(-1).tolist()
    letters = {n: letter for letter, n in json.loads((folders["hubert_wer"] / "vocab.json").read_text()).items()}
    collapsed = [code for n, code in enumerate(path) if n == 0 or code != path[n - 1]]
    special = {"<pad>", "<s>", "</s>", "<unk>"}
    expected = "".join(letters[code] for code in collapsed if letters[code] not in special).replace("|", " ")
    heard = re.sub("<s>|</s>|<unk>", "", measured.detail)
    assert len(set(path)) > 1 and heard.split() == expected.split()
    assert measured.denominator == 2
    exact = metric.measure(Sample("u", wav, wav, RATE, f"{measured.detail} extra"))
    assert exact.numerator == 1, "the transcript has one word more than was heard"


def test_hubert_takes_any_length_and_english_only(folders, monkeypatch):
    metric = build("hubert_wer", folders, monkeypatch)
    wav = speech(1.0, 0, 0, RATE)
    assert np.isfinite(metric.measure(Sample("u", wav, wav[:1], RATE, "one two")).value)
    with pytest.raises(NotMeasurable, match="no transcript"):
        metric.measure(Sample("u", wav, wav, RATE))
    with pytest.raises(MetricUnavailable, match="English only, this set is es"):
        build("hubert_wer", folders, monkeypatch, MetricContext(languages=("es",)))


# ---------------------------------------------------------------- WavLM


def test_wavlm_is_the_cosine_of_its_x_vectors(folders, monkeypatch):
    from transformers import AutoFeatureExtractor, WavLMForXVector

    metric = build("wavlm_sim", folders, monkeypatch)
    one, two = speech(1.5, 0, 0, RATE), speech(1.5, 3, 1, RATE)
    model = WavLMForXVector.from_pretrained(folders["wavlm_sim"]).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folders["wavlm_sim"])
    with torch.no_grad():
        vectors = [
            model(**extractor(wav, sampling_rate=RATE, return_tensors="pt")).embeddings[0].double()
            for wav in (one, two)
        ]
    cosine = float(vectors[0] @ vectors[1] / vectors[0].norm() / vectors[1].norm())
    assert metric.measure(Sample("u", one, two, RATE)).value == pytest.approx(cosine, abs=1e-5)
    assert metric.measure(Sample("u", one, one, RATE)).value == pytest.approx(1.0, abs=1e-5)
    assert cosine < 0.9999


def test_wavlm_needs_sound(folders, monkeypatch):
    metric = build("wavlm_sim", folders, monkeypatch)
    wav = speech(1.0, 0, 0, RATE)
    with pytest.raises(NotMeasurable, match="less than 0.5 s"):
        metric.measure(Sample("u", wav, wav[:7000], RATE))
    with pytest.raises(NotMeasurable, match="silent"):
        metric.measure(Sample("u", wav, np.zeros_like(wav), RATE))


# ---------------------------------------------------------------- UTMOS


CHECKOUT = {
    "speechmos/__init__.py": "",
    "speechmos/model.py": """
import torch

class Scorer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor([3.0]))

    def forward(self, wave, rate):
        assert wave.ndim == 2 and wave.dtype == torch.float32 and rate == 16000
        return self.offset - wave.abs().mean(dim=1)
""",
    "hubconf.py": """
dependencies = ["torch"]
from speechmos.model import Scorer

def utmos22_strong():
    return Scorer()
""",
}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for file, content in CHECKOUT.items():
        path = tmp_path / "checkout" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setenv("SITOK_UTMOS", str(tmp_path / "checkout"))
    return tmp_path / "checkout"


def test_utmos_runs_a_checkout_beside_dnsmos(checkout):
    """The real checkout's package is called speechmos, like the one that DNSMOS comes from."""
    import speechmos

    path = list(sys.path)
    metric = build_metric("utmos", MetricContext())
    assert sys.modules["speechmos"] is speechmos and "speechmos.model" not in sys.modules and sys.path == path
    wav = speech(1.0, 0, 0, RATE)
    measured = metric.measure(Sample("u", wav, 0.5 * wav, RATE))
    assert measured.value == pytest.approx(3.0 - 0.5 * np.abs(wav).mean(), abs=1e-5)
    assert "/" not in metric.card()["model"] and metric.version.startswith("weights ")
    with pytest.raises(NotMeasurable, match="less than a frame"):
        metric.measure(Sample("u", wav, wav[:399], RATE))


def test_utmos_never_downloads(checkout):
    (checkout / "hubconf.py").write_text(
        "import torch\n\ndef utmos22_strong():\n"
        "    return torch.hub.load_state_dict_from_url('https://example.org/utmos.pt', model_dir='nowhere')\n"
    )
    with pytest.raises(MetricUnavailable, match="not on this machine .https://example.org/utmos.pt.: git clone"):
        build_metric("utmos", MetricContext())


def test_utmos_that_is_missing_or_broken(checkout, monkeypatch):
    (checkout / "hubconf.py").write_text("raise ZeroDivisionError('broken')\n")
    with pytest.raises(MetricUnavailable, match="cannot be loaded .ZeroDivisionError"):
        build_metric("utmos", MetricContext())
    (checkout / "hubconf.py").unlink()
    with pytest.raises(MetricUnavailable, match="no hubconf.py"):
        build_metric("utmos", MetricContext())
    monkeypatch.delenv("SITOK_UTMOS")
    with pytest.raises(MetricUnavailable, match="git clone .*export SITOK_UTMOS=DIR"):
        build_metric("utmos", MetricContext())
    assert issubclass(MetricUnavailable, SiTokError)
