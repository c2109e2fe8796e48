"""Speech is damaged on purpose: the metrics that ought to hear a damage get worse by it, those that ought not do not.

The speech is generated, because no installed package brings real speech. Its words are few and far apart in sound, so
that the real recogniser understands them: the error rates are those of real decoding.
"""

import pytest
from heard_words import INSTALLED, OTHER_VOICE, VOICE, WORDS, heard_context, sentences
from speech_generator import synthesize

from benchmarks.metric_response import DAMAGES, RATE, Speech, add_noise, corpus_value, fit, response, through_mel
from sitok_espnet.evaluate.metrics import METRICS, MetricContext, Sample, build_metric

TEXTS = sentences(1, 2)


def swap(text):
    """Every word replaced by another one."""
    return " ".join(WORDS[(WORDS.index(word) + 1) % len(WORDS)] for word in text.split())


@pytest.fixture(scope="module")
def metrics():
    context = heard_context(TEXTS)
    return {name: build_metric(name, context) for name in INSTALLED}


@pytest.fixture(scope="module")
def speech():
    """The same sentence in the same voice, and with every word swapped."""
    return [
        Speech(synthesize(text, seed, VOICE, RATE), synthesize(swap(text), seed, VOICE, RATE))
        for seed, text in enumerate(TEXTS)
    ]


@pytest.fixture(scope="module")
def table(metrics, speech):
    """damage -> metric -> corpus value."""
    wanted = [name for name in DAMAGES if name not in ("noise, 20 dB", "blur, 100 ms")]
    cells = response(speech, TEXTS, metrics, wanted)
    voice = [
        Sample(str(seed), item.wav, fit(synthesize(text, seed, OTHER_VOICE, RATE), len(item.wav)), RATE, text)
        for seed, (item, text) in enumerate(zip(speech, TEXTS, strict=True))
    ]
    cells["another voice"] = {name: corpus_value(metric, voice) for name, metric in metrics.items()}
    return {damage: {name: cell.value for name, cell in row.items()} for damage, row in cells.items()}


# damage: (what it is compared with, metric -> at least this much worse, metric -> at most this far from it).
# Metrics that are not named are not judged: what is right for them depends on the speech.
EXPECTED = {
    "half as loud": (
        "nothing",
        {"mel": 0.1},
        {"wer": 0.13, "sim": 0.06, "distillmos": 0.05, "pesq": 0.02, "stoi": 1e-3, "estoi": 1e-3}
        | {"mcd": 0.02, "f0_rmse": 1, "vuv": 0.01},
    ),
    "noise, 5 dB": (
        "nothing",
        {"wer": 0.1, "sim": 0.05, "distillmos": 0.1, "pesq": 2.0, "stoi": 0.02, "estoi": 0.1, "mel": 0.5, "mcd": 2.0},
        {},
    ),
    "blur, 300 ms": (
        "Griffin-Lim copy",
        {"wer": 0.1, "cer": 0.1, "distillmos": 0.1, "pesq": 0.5, "stoi": 0.1, "estoi": 0.1, "mel": 0.2, "mcd": 1.0},
        {},
    ),
    "other words": (
        "nothing",
        {"wer": 0.5, "cer": 0.3, "pesq": 2.0, "stoi": 0.3, "estoi": 0.3, "mel": 0.2, "mcd": 3.0, "vuv": 0.1},
        {"sim": 0.2},
    ),
    "another voice": ("nothing", {"sim": 0.1, "mel": 0.2, "mcd": 2.0, "f0_rmse": 100.0}, {"wer": 0.13, "vuv": 0.1}),
    "pitch +300 cents": ("WORLD copy", {"f0_rmse": 200.0, "pesq": 0.5}, {"wer": 0.13, "mcd": 0.5, "vuv": 0.1}),
    "formants +20 %": (
        "WORLD copy",
        {"sim": 0.02, "mcd": 2.0, "mel": 0.1, "estoi": 0.02},
        {"f0_rmse": 60.0, "vuv": 0.1},
    ),
    "whispered": ("WORLD copy", {"vuv": 0.3, "sim": 0.05, "pesq": 0.1}, {}),
    "silence": ("nothing", {"wer": 0.9, "cer": 0.9, "stoi": 0.9, "estoi": 0.9, "mel": 2.0, "mcd": 5.0, "vuv": 0.3}, {}),
    "50 ms late": ("nothing", {"stoi": 0.05, "estoi": 0.05, "mel": 0.1, "mcd": 1.0}, {"wer": 0.13, "sim": 0.05}),
}


def worse_by(metric, before, after):
    return before - after if metric.higher_is_better else after - before


@pytest.mark.parametrize("damage", EXPECTED)
def test_a_damage_moves_the_right_metrics(metrics, table, damage):
    baseline, *margins = EXPECTED[damage]
    heard, unheard = ({name: margin for name, margin in part.items() if name in metrics} for part in margins)
    before, after = table[baseline], table[damage]
    change = {name: worse_by(metrics[name], before[name], after[name]) for name in {**heard, **unheard}}
    missed = {name: change[name] for name, margin in heard.items() if not change[name] > margin}
    invented = {name: change[name] for name, margin in unheard.items() if not abs(change[name]) <= margin}
    assert not missed and not invented, f"missed {missed}, invented {invented}; before {before}, after {after}"


def test_every_default_metric_can_fail():
    heard = {name for _, worse, _ in EXPECTED.values() for name in worse}
    assert heard == set(METRICS)


def test_the_original_is_perfect(metrics, table):
    everything = {"sim": 1, "pesq": 4.644, "stoi": 1, "estoi": 1, "mel": 0, "mcd": 0, "f0_rmse": 0, "vuv": 0}
    perfect = {name: value for name, value in everything.items() if name in metrics}
    assert perfect.keys() == {name for name, metric in metrics.items() if metric.intrusive}
    for name, value in perfect.items():
        assert table["nothing"][name] == pytest.approx(value, abs=1e-3), name
    assert table["nothing"]["wer"] < 0.13, "the recogniser understands the generated words"


def test_what_cannot_be_measured_is_excluded_not_perfect(table):
    excluded = {name for name, value in table["silence"].items() if value is None}
    assert excluded == {"pesq", "f0_rmse", "sim"} & set(INSTALLED)


def test_dnsmos_hears_noise_and_blur():
    dnsmos = build_metric("dnsmos", MetricContext())
    wav = fit(synthesize(TEXTS[0], 0, VOICE, RATE), 55200)  # 4 repetitions of 2.3 s: one window of 9.01 s
    clean = dnsmos.measure(Sample("u", wav, wav, RATE)).value
    for damaged in (add_noise(wav, 5.0), through_mel(wav, 15, 8)):
        assert dnsmos.measure(Sample("u", wav, damaged, RATE)).value < clean - 0.1
