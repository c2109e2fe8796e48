"""The registry of probe components, and the probe built from a configuration.

A new probe is one file beside its kind, one line in ``PROBE_SLOTS``, one YAML in ``conf/probe`` (and its name in
``probes/tasks.py`` where it is to be tried by default).
"""

from collections.abc import Mapping
from typing import Any

from sitok_espnet.errors import SiTokError
from sitok_espnet.probes.adapter.abs_adapter import AbsAdapter
from sitok_espnet.probes.adapter.frames import FrameAdapter
from sitok_espnet.probes.adapter.tokens import TokenAdapter
from sitok_espnet.probes.body.abs_body import AbsBody
from sitok_espnet.probes.body.bilstm import BiLSTM
from sitok_espnet.probes.body.contextnet import ContextNet
from sitok_espnet.probes.body.ecapa_tdnn import EcapaTdnn
from sitok_espnet.probes.body.identity import Identity
from sitok_espnet.probes.body.time_pooling import TimePooling
from sitok_espnet.probes.body.xvector import XVector
from sitok_espnet.probes.card import InputCard
from sitok_espnet.probes.espnet_model import ProbeModel
from sitok_espnet.probes.head.abs_head import AbsHead
from sitok_espnet.probes.head.classify import AAMSoftmaxHead, SoftmaxHead
from sitok_espnet.probes.head.ctc import CTCHead
from sitok_espnet.probes.head.language_model import LanguageModelHead
from sitok_espnet.sitok.slots import Slot, build_slot

PROBE_SLOTS: dict[str, Slot] = {
    "input_adapter": Slot(AbsAdapter, {"tokens": TokenAdapter, "frames": FrameAdapter}, "tokens", ("card",)),
    "body": Slot(
        AbsBody,
        {
            "identity": Identity,
            "bilstm": BiLSTM,
            "contextnet": ContextNet,
            "time_pooling": TimePooling,
            "xvector": XVector,
            "ecapa_tdnn": EcapaTdnn,
        },
        "identity",
        ("input_size",),
    ),
    "head": Slot(
        AbsHead,
        {"softmax": SoftmaxHead, "aam_softmax": AAMSoftmaxHead, "ctc": CTCHead, "language_model": LanguageModelHead},
        "softmax",
        ("input_size", "num_targets"),
    ),
}


def build_probe(config: Mapping[str, Any]) -> ProbeModel:
    """The probe of a configuration: slots, ``card`` (an input card as a dictionary), ``target_list`` (names).

    Raises:
        SiTokError: unknown choices or keys, an adapter of another input, a head and a body that do not fit.
    """
    content = config.get("card")
    if not content or not config.get("target_list"):
        raise SiTokError("a probe needs an input card (--input_card, stage 4) and its targets (--target_list, stage 3)")
    card = InputCard(**{**content, "codebook_sizes": tuple(content["codebook_sizes"])})
    name = config.get("input_adapter", PROBE_SLOTS["input_adapter"].default)
    chosen = PROBE_SLOTS["input_adapter"].choices.get(name)
    if chosen is not None and not chosen.accepts(card):
        fitting = [key for key, choice in PROBE_SLOTS["input_adapter"].choices.items() if choice.accepts(card)]
        raise SiTokError(
            f"input_adapter {name} cannot read the input {card.input}: --input_adapter {' or '.join(fitting)}"
        )
    adapter = build_slot("input_adapter", config, PROBE_SLOTS, card=card)
    body = build_slot("body", config, PROBE_SLOTS, input_size=adapter.output_size())
    targets = list(config["target_list"])
    head = build_slot("head", config, PROBE_SLOTS, input_size=body.output_size(), num_targets=len(targets))
    if body.pools != head.reads_pooled:
        wanted = "one vector an utterance" if head.reads_pooled else "frames"
        fitting = [key for key, choice in PROBE_SLOTS["body"].choices.items() if choice.pools == head.reads_pooled]
        raise SiTokError(
            f"head {config.get('head')} reads {wanted}, which body {config.get('body')} does not give: choose one of "
            f"{', '.join(fitting)}"
        )
    return ProbeModel(adapter, body, head, targets)
