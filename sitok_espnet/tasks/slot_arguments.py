"""Command-line arguments for the slots: ESPnet's parser with one more rule."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from espnet2.train.class_choices import ClassChoices
from espnet2.utils import config_argparse

from sitok_espnet.sitok.slots import CLASS_DEFAULTS, SLOTS, Slot


def slot_choices(slots: Mapping[str, Slot] = SLOTS) -> list[ClassChoices]:
    """``--<slot>`` and ``--<slot>_conf`` for every slot of a registry."""
    return [
        ClassChoices(name, slot.choices, type_check=slot.contract, default=slot.default, optional=slot.optional)
        for name, slot in slots.items()
    ]


class SlotArgumentParser(config_argparse.ArgumentParser):
    """If the command line changes a slot's class from the YAML's, the YAML's ``<slot>_conf`` is dropped.

    So it is with the optimizer and its scheduler. ESPnet alone would hand the old class's keys to the new one (DESIGN
    section 8, Configuration). A YAML that names no class for a slot without a default (``normalize``, which stage 5
    switches on) keeps its options.
    """

    class_defaults: Mapping[str, str | None] = CLASS_DEFAULTS

    def parse_known_args(self, args=None, namespace=None):
        """Parse with the YAML's values, then again without those that belong to a replaced class."""
        parsed, rest = super().parse_known_args(args, namespace)
        if parsed.config is None:
            return parsed, rest
        from_yaml = yaml.safe_load(Path(parsed.config).read_text(encoding="utf-8")) or {}
        replaced = [
            name
            for name, default in self.class_defaults.items()
            if from_yaml.get(f"{name}_conf")
            and (name in from_yaml or default is not None)
            and getattr(parsed, name) != from_yaml.get(name, default)
        ]
        if not replaced:
            return parsed, rest
        for name in replaced:
            # Not through logging: ESPnet configures it later, and a first message would leave it at its defaults.
            print(
                f"--{name} {getattr(parsed, name)} replaces the {name} of {parsed.config}: its {name}_conf is dropped",
                file=sys.stderr,
            )
        self.set_defaults(**{f"{name}_conf": {} for name in replaced})
        return argparse.ArgumentParser.parse_known_args(self, args, namespace)
