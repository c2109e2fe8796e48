"""Numbers as the page writes them."""

from collections.abc import Mapping

MINUS = "\u2212"


def number(value: float, decimals: int) -> str:
    """With a real minus sign."""
    return f"{value:.{decimals}f}".replace("-", MINUS)


def interval(cell: Mapping, decimals: int) -> str:
    """``[low, high]``."""
    return f"[{number(cell['low'], decimals)}, {number(cell['high'], decimals)}]"
