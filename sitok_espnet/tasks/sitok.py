"""SiTok training as an ESPnet task: ESPnet's trainer, our slots."""

import argparse
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch
from espnet2.tasks.abs_task import AbsTask
from espnet2.text.phoneme_tokenizer import g2p_choices
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.train.preprocessor import CommonPreprocessor
from espnet2.utils import config_argparse
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import float_or_none, str2bool, str_or_none

from sitok_espnet.augment import Augmentation, SpeechPreprocessor
from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.espnet_model import SiTokModel
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.slots import build_model
from sitok_espnet.tasks.checks import check_init_param, check_statistics
from sitok_espnet.tasks.deepspeed import prepare_for_deepspeed
from sitok_espnet.tasks.slot_arguments import SlotArgumentParser, slot_choices
from sitok_espnet.tasks.trainer import SiTokTrainer
from sitok_espnet.tasks.weight_average import WeightAverage


class SiTokTask(AbsTask):
    """``python -m sitok_espnet.bin.sitok_train``; the slots are listed in ``sitok_espnet/sitok/slots.py``."""

    num_optimizers = 1
    trainer = SiTokTrainer
    class_choices_list = slot_choices()

    @classmethod
    def get_parser(cls) -> config_argparse.ArgumentParser:
        """ESPnet's parser, with our rule for slots that the command line replaces."""
        parser = super().get_parser()
        parser.__class__ = SlotArgumentParser
        return parser

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser):
        """Slots, model options and text preprocessing."""
        group = parser.add_argument_group("Task related")
        group.add_argument("--token_list", type=str_or_none, default=None, help="text pieces, one a line (stage 3)")
        group.add_argument(
            "--model_conf",
            action=NestedDictAction,
            default={},
            help="stacking_factor: k mel frames a token (4 = 12.5 Hz); lambda_ctc: weight of the CTC loss",
        )
        group = parser.add_argument_group("Preprocess related")
        group.add_argument("--use_preprocessor", type=str2bool, default=True, help="turn transcripts into piece ids")
        group.add_argument("--token_type", default="bpe", choices=["bpe", "char", "word", "phn"])
        group.add_argument("--bpemodel", type=str_or_none, default=None, help="SentencePiece model (stage 3)")
        group.add_argument("--non_linguistic_symbols", type=str_or_none, default=None)
        group.add_argument("--cleaner", type=str_or_none, default=None, help="ESPnet text cleaner")
        group.add_argument("--g2p", type=str_or_none, default=None, choices=g2p_choices)
        group.add_argument(
            "--augment_conf",
            action=NestedDictAction,
            default={},
            help="changes of the training speech, off by default: effect -> its options, as in "
            "'speed: {minimum: 0.85, maximum: 1.2}' (effects and options: sitok_espnet/augment.py)",
        )
        group.add_argument(
            "--weight_average_decay",
            type=float_or_none,
            default=None,
            help="decay of a moving average of the decoder's weights; the average is validated, saved and packed",
        )
        for choices in cls.class_choices_list:
            choices.add_arguments(group)

    @classmethod
    def build_collate_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[Collection[tuple[str, dict[str, np.ndarray]]]], tuple[list[str], dict[str, torch.Tensor]]]:
        """Pad speech with zeros, text with -1."""
        return CommonCollateFn(float_pad_value=0.0, int_pad_value=-1)

    @classmethod
    def build_preprocess_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]] | None:
        """Augmentation (training only) and ESPnet's text preprocessor; None when there is nothing to do."""
        text_preprocessor = None
        if args.use_preprocessor and args.token_list is not None:
            text_preprocessor = cls._build_text_preprocessor(args, train)
        sample_rate = (args.feats_extract_conf or {}).get("sample_rate", MelConfig.sample_rate)
        augmentation = Augmentation(args.augment_conf or {}, sample_rate)  # checked for validation, too
        return (
            SpeechPreprocessor(augmentation, text_preprocessor) if train and augmentation.effects else text_preprocessor
        )

    @classmethod
    def _build_text_preprocessor(cls, args: argparse.Namespace, train: bool) -> CommonPreprocessor:
        return CommonPreprocessor(
            train=train,
            token_type=args.token_type,
            token_list=args.token_list,
            bpemodel=args.bpemodel,
            non_linguistic_symbols=args.non_linguistic_symbols,
            text_cleaner=args.cleaner,
            g2p_type=args.g2p,
        )

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """speech: 24 kHz mono."""
        return ("speech",)

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """text: without it everything but the CTC is trained."""
        return ("text",)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> SiTokModel:
        """Build the model; ``--token_list`` becomes the list of pieces, so that config.yaml is self-contained."""
        if isinstance(args.token_list, str):
            path = Path(args.token_list)
            if not path.is_file():
                raise SiTokError(f"--token_list {path} does not exist: stage 3 of the recipe makes it")
            args.token_list = path.read_text(encoding="utf-8").splitlines()
        model = build_model(vars(args))
        if args.normalize is not None:
            check_statistics(model, args.normalize_conf.get("stats_file"))
        for specification in args.init_param:
            check_init_param(model, specification, args.ignore_init_mismatch)
        prepare_for_deepspeed(model, args)
        return model

    @classmethod
    def build_optimizers(cls, args: argparse.Namespace, model: torch.nn.Module) -> list[torch.optim.Optimizer]:
        """ESPnet's optimizer; each of its steps also moves the codebook, once, whatever the gradient accumulation.

        With ``--weight_average_decay`` it moves an average of the decoder's weights too. Encoder and quantizer stay as
        they are trained: the codebook follows the encoder itself, and tokens need the two to fit.
        """
        optimizers = super().build_optimizers(args, model)
        for optimizer in optimizers:
            optimizer.register_step_post_hook(lambda *_: model.quantizer.update_codebook())
            if args.weight_average_decay is not None:
                WeightAverage(optimizer, model.decoder.parameters(), args.weight_average_decay)
        return optimizers
