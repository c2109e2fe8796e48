"""Probe training as an ESPnet task: ESPnet's trainer on the frozen features of stage 4."""

import argparse
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from espnet2.tasks.abs_task import AbsTask
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.train.dataset import DATA_TYPES
from espnet2.utils import config_argparse
from espnet2.utils.types import str_or_none

from sitok_espnet.errors import SiTokError
from sitok_espnet.probes.card import InputCard
from sitok_espnet.probes.espnet_model import ProbeModel
from sitok_espnet.probes.slots import PROBE_SLOTS, build_probe
from sitok_espnet.probes.store import FeatureStore
from sitok_espnet.probes.targets import TargetPreprocessor
from sitok_espnet.sitok.slots import class_defaults
from sitok_espnet.tasks.slot_arguments import SlotArgumentParser, slot_choices

FEATURES = "probe_input"  # the type in --train_data_path_and_name_and_type dump/feats/mel/input.json,feats,probe_input
DATA_TYPES[FEATURES] = {"func": FeatureStore, "kwargs": [], "help": "a folder of features with an input card"}


class ProbeArgumentParser(SlotArgumentParser):
    """The rule about replaced slots, for the slots of probes."""

    class_defaults = class_defaults(PROBE_SLOTS)


class ProbeTask(AbsTask):
    """``python -m sitok_espnet.bin.probe_train``; the slots are listed in ``sitok_espnet/probes/slots.py``."""

    num_optimizers = 1
    class_choices_list = slot_choices(PROBE_SLOTS)

    @classmethod
    def get_parser(cls) -> config_argparse.ArgumentParser:
        """ESPnet's parser, with our rule for slots that the command line replaces."""
        parser = super().get_parser()
        parser.__class__ = ProbeArgumentParser
        return parser

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser):
        """Slots, the input and the targets."""
        group = parser.add_argument_group("Task related")
        group.add_argument("--input_card", type=str_or_none, default=None, help="dump/feats/<input>/input.json")
        group.add_argument("--target_list", type=str_or_none, default=None, help="classes or pieces, one a line")
        group.add_argument("--bpemodel", type=str_or_none, default=None, help="SentencePiece model, for texts")
        group.add_argument("--card", default=None, help=argparse.SUPPRESS)  # the content of --input_card
        for choices in cls.class_choices_list:
            choices.add_arguments(group)
        parser.set_defaults(num_att_plot=0)

    @classmethod
    def build_collate_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[Collection[tuple[str, dict[str, np.ndarray]]]], tuple[list[str], dict[str, torch.Tensor]]]:
        """Pad frames with zeros, codes and targets with -1."""
        return CommonCollateFn(float_pad_value=0.0, int_pad_value=-1)

    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool) -> TargetPreprocessor:
        """Labels or transcripts to numbers."""
        cls._read_files(args)
        return TargetPreprocessor(args.target_list, args.bpemodel)

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """feats: of stage 4. target: a label or a transcript."""
        return ("feats", "target")

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """None."""
        return ()

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ProbeModel:
        """Build the probe; card and targets go into the arguments, so that config.yaml is self-contained."""
        cls._read_files(args)
        return build_probe(vars(args))

    @staticmethod
    def _read_files(args: argparse.Namespace) -> None:
        if args.card is None and args.input_card is not None:
            card = asdict(InputCard.read(args.input_card))
            args.card = {**card, "codebook_sizes": list(card["codebook_sizes"])}
        if isinstance(args.target_list, str):
            path = Path(args.target_list)
            if not path.is_file():
                raise SiTokError(f"--target_list {path} does not exist: stage 3 of the recipe makes it")
            args.target_list = path.read_text(encoding="utf-8").splitlines()
