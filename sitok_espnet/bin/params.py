"""`sitok params`."""

import argparse
import json
from pathlib import Path

import yaml

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.slots import DEFAULT_VOCABULARY, assumes_vocabulary, count_parameters


def run(args: argparse.Namespace) -> None:
    path = Path(args.config)
    config = read_config(path / "config.yaml" if path.is_dir() else path)
    counts = count_parameters(config)
    if args.json:
        print(json.dumps(counts, indent=2))
        return
    print(table(counts))
    if assumes_vocabulary(config):
        print(f"(no CTC vocabulary is stated: {DEFAULT_VOCABULARY:,} pieces are assumed)")


def read_config(path: Path) -> dict:
    """A YAML mapping; SiTokError naming the file otherwise."""
    if not path.is_file():
        raise SiTokError(f"{path}: no such configuration")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SiTokError(f"{path}: not YAML ({error})") from error
    if not isinstance(config, dict):
        raise SiTokError(f"{path}: expected a YAML mapping of slots, got {type(config).__name__}")
    return config


def table(counts: dict[str, int]) -> str:
    """Slot, parameters, share of the total; slots without parameters are left out."""
    total = counts["total"]
    lines = [f"{'slot':<16}{'parameters':>16}{'share':>9}"]
    for slot, count in counts.items():
        if count:
            lines.append(f"{slot:<16}{count:>16,}{count / total:>9.1%}")
    return "\n".join(lines)
