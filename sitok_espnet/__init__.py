"""SiTok, a low-rate diffusion-autoencoder speech tokenizer, as ESPnet components.

Importing the package is cheap: torch and the model are loaded when :class:`SiTok` or :func:`resample` is first used.
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["SiTok", "SiTokError", "resample", "__version__"]
_LAZY = {
    "SiTok": "sitok_espnet.inference",
    "resample": "sitok_espnet.audio",
    "SiTokError": "sitok_espnet.errors",
}


def __getattr__(name: str):
    """Import a public name on first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
