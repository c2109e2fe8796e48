"""Vocoder training as an ESPnet task: ESPnet's GANTrainer, Vocos on our mel."""

import argparse
from collections.abc import Callable, Collection

import numpy as np
import torch
from espnet2.tasks.abs_task import AbsTask, optim_classes
from espnet2.train.class_choices import ClassChoices
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.gan_trainer import GANTrainer
from espnet2.utils.nested_dict_action import NestedDictAction

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.slots import SLOTS, build_slot
from sitok_espnet.tasks.checks import check_init_param
from sitok_espnet.vocoder.gan_model import VocosGANModel, build_gan_model
from sitok_espnet.vocoder.segments import SegmentCutter


class VocosTask(AbsTask):
    """``python -m sitok_espnet.bin.vocos_train``; configurations in ``conf/vocoder/``."""

    num_optimizers = 2
    trainer = GANTrainer
    class_choices_list = [
        ClassChoices(
            "feats_extract",
            SLOTS["feats_extract"].choices,
            type_check=SLOTS["feats_extract"].contract,
            default=SLOTS["feats_extract"].default,
        )
    ]

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser):
        """The mel, the networks, the losses and the segments."""
        group = parser.add_argument_group("Task related")
        for name, text in (
            ("generator_conf", "dim, intermediate_dim, num_layers of the backbone"),
            ("discriminator_conf", "periods, fft_sizes, mrd_channels, mrd_weight"),
            ("model_conf", "mel_weight, mel_scales, discriminator_start_step"),
        ):
            group.add_argument(f"--{name}", action=NestedDictAction, default={}, help=text)
        group.add_argument(
            "--segment_samples", type=int, default=24000, help="random crop of an utterance, a multiple of the hop"
        )
        group.add_argument(
            "--valid_segment_samples",
            type=int,
            default=72000,
            help="middle of a validation utterance, the same in every epoch",
        )
        for choices in cls.class_choices_list:
            choices.add_arguments(group)
        # Nothing here has attention to plot. Every turn leaves one of the two networks without gradients, which DDP
        # must be told.
        parser.set_defaults(num_att_plot=0, unused_parameters=True)

    @classmethod
    def build_collate_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[Collection[tuple[str, dict[str, np.ndarray]]]], tuple[list[str], dict[str, torch.Tensor]]]:
        """All segments have the same length."""
        return CommonCollateFn(float_pad_value=0.0, int_pad_value=-1)

    @classmethod
    def build_preprocess_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
        """Cut segments: random ones for training, the middle for validation."""
        config = build_slot("feats_extract", vars(args)).config
        return SegmentCutter(config, args.segment_samples if train else args.valid_segment_samples, random=train)

    @classmethod
    def build_iter_options(cls, args: argparse.Namespace, distributed_option: DistributedOption, mode: str):
        """Segments all have one length, so batches need no shape files: the list of audio will do."""
        options = super().build_iter_options(args, distributed_option, mode)
        if not options.shape_files:
            options.shape_files = [options.data_path_and_name_and_type[0][0]]
        return options

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """speech: mono, at the mel's sampling rate."""
        return ("speech",)

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """None."""
        return ()

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> VocosGANModel:
        """Build the model.

        Raises:
            SiTokError: unknown options, half precision, --init_param of another model.
        """
        if args.use_amp or args.train_dtype != "float32":
            raise SiTokError(
                "the vocoder trains in float32 only: ESPnet's GANTrainer has no mixed precision but float16, in which "
                "the exponential of the spectrum overflows (leave --use_amp and --train_dtype at their defaults)"
            )
        model = build_gan_model(vars(args))
        for specification in args.init_param:
            check_init_param(model, specification, args.ignore_init_mismatch)
        return model

    @classmethod
    def build_optimizers(cls, args: argparse.Namespace, model: torch.nn.Module) -> list[torch.optim.Optimizer]:
        """--optim moves the generator, --optim2 the discriminators."""
        return [
            optim_classes[args.optim](model.generator.parameters(), **args.optim_conf),
            optim_classes[args.optim2](model.discriminators.parameters(), **args.optim2_conf),
        ]
