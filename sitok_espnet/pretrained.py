"""Models that come with the package, by name; their cards are beside them in ``sitok_espnet/models``."""

from pathlib import Path

from sitok_espnet.errors import SiTokError

MODELS = Path(__file__).parent / "models"
PACKED_VOCODER = "vocoder"  # folder of a trained vocoder in a packed tokenizer; in MODELS, of one that all share
PREFERRED_MODEL = "asterisk_25hz"  # the default of the command line in installations that have it


def pretrained_models() -> list[str]:
    """Names of the models in this installation."""
    return sorted(path.parent.name for path in MODELS.glob("*/config.yaml") if path.parent.name != PACKED_VOCODER)


def default_model() -> str | None:
    """What the command line takes where no model is named, None where the installation has no such model."""
    return PREFERRED_MODEL if PREFERRED_MODEL in pretrained_models() else None


def locate(directory_or_name: str | Path) -> Path:
    """The folder of a model: an existing folder, or the name of one that came with the package.

    Raises:
        SiTokError: neither; it lists the names.
    """
    folder = Path(directory_or_name)
    if folder.is_dir():
        return folder
    name = str(directory_or_name)
    if name in pretrained_models():
        return MODELS / name
    raise SiTokError(
        f"no model {name}: it is neither a folder (an experiment, or what stage 9 packed) nor one of the "
        f"models of this installation ({', '.join(pretrained_models()) or 'none'})"
    )


def trained_vocoder(directory: str | Path) -> Path | None:
    """Folder of the vocoder that belongs to a tokenizer's: packed with it, or shared by the models of the package."""
    folder = Path(directory)
    places = [folder, folder.parent] if folder.resolve().parent == MODELS.resolve() else [folder]
    there = [place / PACKED_VOCODER for place in places if (place / PACKED_VOCODER / "config.yaml").is_file()]
    return there[0] if there else None
