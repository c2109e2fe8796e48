"""Training of the token language model as an ESPnet task."""

import argparse
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import yaml
from espnet2.tasks.abs_task import AbsTask
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str_or_none

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.code_vectors import begin_at_codebooks, read_code_vectors
from sitok_espnet.speechlm.espnet_model import SpeechLMModel
from sitok_espnet.speechlm.joining import Joining, JoiningPreprocessor, training_tables
from sitok_espnet.speechlm.pattern.choices import PATTERNS, build_pattern
from sitok_espnet.speechlm.slots import DEFAULT_LM, LMS, build_speech_lm
from sitok_espnet.speechlm.text import TextPreprocessor, load_text_tokenizer
from sitok_espnet.speechlm.vocabulary import JointVocabulary
from sitok_espnet.tasks.checks import check_init_param
from sitok_espnet.tasks.deepspeed import prepare_for_deepspeed


class SpeechLMTask(AbsTask):
    """``python -m sitok_espnet.bin.speechlm_train``: data names ``text`` (transcripts) and ``codes`` (a token dump)."""

    num_optimizers = 1
    class_choices_list = ()

    @classmethod
    def main(cls, args: argparse.Namespace | None = None, cmd: Sequence[str] | None = None) -> None:
        """ESPnet's entry point; a training of other tokens is not resumed (see `check_resumed`)."""
        args = cls.get_parser().parse_args(cmd) if args is None else args
        check_resumed(args)
        super().main(args=args)

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser):
        """Vocabulary, pattern, backbone and model options."""
        group = parser.add_argument_group("Task related")
        group.add_argument("--vocabulary", type=str_or_none, default=None, help="joint vocabulary (stage 3)")
        group.add_argument("--text_tokenizer", type=str_or_none, default=None, help="SentencePiece model, or a folder")
        group.add_argument("--code_vectors", type=str_or_none, default=None, help="codebook vectors (stage 3)")
        group.add_argument(
            "--code_init",
            default="random",
            choices=("random", "codebook"),
            help="embeddings of codes begin at random or at the tokenizer's codebook vectors (ours)",
        )
        group.add_argument("--pattern", default="flatten", choices=sorted(PATTERNS), help="order of several codebooks")
        group.add_argument("--lm", default=DEFAULT_LM, choices=sorted(LMS), help="backbone")
        group.add_argument("--lm_conf", action=NestedDictAction, default={}, help="its options")
        group.add_argument(
            "--model_conf",
            action=NestedDictAction,
            default={},
            help="text_drop: share of utterances without text in training; pack_length: positions of a row; "
            "code_drop: share of steps whose codes training hides; first_codebook_weight: of its codes in the loss",
        )
        group.add_argument(
            "--join_conf",
            action=NestedDictAction,
            default={},
            help="probability: that a training utterance goes on with another one of its speaker (0: never); "
            "max_positions: of the language model, of all of them; batch_bins counts before",
        )

    @classmethod
    def build_collate_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[Collection[tuple[str, dict[str, np.ndarray]]]], tuple[list[str], dict[str, torch.Tensor]]]:
        """Pad integers with -1."""
        return CommonCollateFn(float_pad_value=0.0, int_pad_value=-1)

    @classmethod
    def build_preprocess_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
        """Transcripts to pieces; in training, utterances may go on with others (`JoiningPreprocessor`).

        Raises:
            SiTokError: the text tokenizer is not the one of the vocabulary, or ``join_conf`` cannot be.
        """
        if not args.text_tokenizer:
            raise SiTokError("no text tokenizer: give --text_tokenizer, the SentencePiece model of the recipe")
        vocabulary = vocabulary_of(args.vocabulary)
        tokenizer = load_text_tokenizer(args.text_tokenizer, vocabulary.text_size)
        tokenizer.check(vocabulary, args.text_tokenizer)
        preprocessor = TextPreprocessor(tokenizer)
        joining = Joining.from_mapping(args.join_conf or {})  # checked for validation, too
        if not train or not joining.probability:
            return preprocessor
        pattern = build_pattern(args.pattern, vocabulary)
        return JoiningPreprocessor(joining, preprocessor, pattern, training_tables(args))

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """text and codes."""
        return ("text", "codes")

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """speaker and, where there are several, language, for ``join_conf``."""
        return ("speaker", "language")

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> SpeechLMModel:
        """Build the model that training begins with; ``--vocabulary`` becomes its content: config.yaml is complete."""
        if isinstance(args.vocabulary, str):
            content = asdict(JointVocabulary.read(args.vocabulary))
            args.vocabulary = {**content, "codebook_sizes": list(content["codebook_sizes"])}
        model = build_speech_lm(vars(args))
        if args.code_init == "codebook":
            if not args.code_vectors:
                raise SiTokError("code_init: codebook needs --code_vectors FILE (stage 3 makes it)")
            begin_at_codebooks(model, read_code_vectors(args.code_vectors, model.vocabulary))
        joining = Joining.from_mapping(args.join_conf or {})
        if joining.probability:
            model.check_positions(joining.max_positions, "join_conf max_positions")
        for specification in args.init_param:
            check_init_param(model, specification, args.ignore_init_mismatch)
        prepare_for_deepspeed(model, args)
        return model


def vocabulary_of(option: str | dict | None) -> JointVocabulary:
    """From the file that was named, or the content that `build_model` put in its place."""
    if isinstance(option, str):
        return JointVocabulary.read(option)
    return JointVocabulary.from_mapping(option or {}, "vocabulary")


# What a checkpoint of the same shapes does not show, and what would go into config.yaml beside it as if it were so.
FIXED = {"pattern": "flatten", "lm": DEFAULT_LM, "code_init": "random"}  # and their defaults


def texts_of(data: Sequence[Sequence[str]]) -> str:
    """The transcripts of a training: they say which set it is of."""
    return ", ".join(path for path, name, _ in data if name == "text")


def check_resumed(args: argparse.Namespace) -> None:
    """Before anything is written: a checkpoint that is to be resumed is of the same tokens, pattern, start and data.

    Raises:
        SiTokError: it is not, and what differs.
    """
    folder = Path(args.output_dir or ".")
    path = folder / "config.yaml"
    begun = path.is_file() and any(folder.glob("checkpoint*"))  # checkpoint.pth, or DeepSpeed's checkpoint_N
    if not args.resume or args.collect_stats or not begun:
        return
    before = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    old, new = vocabulary_of(before.get("vocabulary")), vocabulary_of(args.vocabulary)
    was = asdict(old) | {name: before.get(name, default) for name, default in FIXED.items()}
    wanted = asdict(new) | {name: getattr(args, name) for name in FIXED}
    was["texts"] = texts_of(before.get("train_data_path_and_name_and_type") or ())
    wanted["texts"] = texts_of(args.train_data_path_and_name_and_type)
    differences = [f"{name} {was[name]}, not {wanted[name]}" for name in was if was[name] != wanted[name]]
    if differences:
        raise SiTokError(
            f"{folder} was trained with {'; '.join(differences)}: remove it, or train beside it (recipe: --lm_tag)"
        )
