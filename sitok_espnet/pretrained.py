"""Models that come with the package, by name; their cards are beside them in ``sitok_espnet/models``."""

from pathlib import Path

from sitok_espnet.errors import SiTokError

MODELS = Path(__file__).parent / "models"
PACKED_VOCODER = "vocoder"  # folder of a trained vocoder in a packed tokenizer; in MODELS, of one that all share
PREFERRED_MODEL = "asterisk_25hz"  # the default of the command line in installations that have it


def pretrained_models() -> list[str]:
    """Names of the tokenizers in this installation."""
    return sorted(name for name, is_lm in _packed().items() if not is_lm)


def pretrained_language_models() -> list[str]:
    """Names of the token language models in this installation."""
    return sorted(name for name, is_lm in _packed().items() if is_lm)


def _packed() -> dict[str, bool]:
    """name -> whether it is a language model: its configuration has a pattern (found as text: parsing is slow)."""
    paths = [path for path in MODELS.glob("*/config.yaml") if path.parent.name != PACKED_VOCODER]
    return {path.parent.name: "\npattern:" in "\n" + path.read_text(encoding="utf-8") for path in paths}


def default_model() -> str | None:
    """What the command line takes where no model is named, None where the installation has no such model."""
    return PREFERRED_MODEL if PREFERRED_MODEL in pretrained_models() else None


def locate(directory_or_name: str | Path, language_model: bool = False) -> Path:
    """The folder of a model: an existing folder, or the name of one that came with the package.

    Args:
        directory_or_name: either.
        language_model: look for a language model of that name, not for a tokenizer.

    Raises:
        SiTokError: neither; it lists the names.
    """
    folder = Path(directory_or_name)
    if folder.is_dir():
        return folder
    name = str(directory_or_name)
    names, others = pretrained_models(), pretrained_language_models()
    kind, option, packed = "tokenizer", "--model", "what stage 9 packed"
    if language_model:
        names, others = others, names
        kind, option, packed = "language model", "--lm", "what speechlm_pack made"
    if name in names:
        return MODELS / name
    if name in others:
        raise SiTokError(f"{name} is no {kind} ({option}): of these, the installation has {', '.join(names) or 'none'}")
    raise SiTokError(
        f"no model {name}: it is neither a folder (an experiment, or {packed}) nor one of the "
        f"{kind}s of this installation ({', '.join(names) or 'none'})"
    )


def trained_vocoder(directory: str | Path) -> Path | None:
    """Folder of the vocoder that belongs to a tokenizer's: packed with it, or shared by the models of the package."""
    folder = Path(directory)
    places = [folder, folder.parent] if folder.resolve().parent == MODELS.resolve() else [folder]
    there = [place / PACKED_VOCODER for place in places if (place / PACKED_VOCODER / "config.yaml").is_file()]
    return there[0] if there else None
