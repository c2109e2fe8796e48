"""Markdown pieces that all result pages are made of."""

from collections.abc import Mapping, Sequence

REFERENCE, NOT_JUDGED = "reference", "not judged"  # statuses of cells that are a dash


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; cells are escaped so that no text can break it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_escape(cell) for cell in line) + " |" for line in lines)


def _escape(cell: str) -> str:
    return " ".join(str(cell).split()).replace("|", "\\|") or " "


def cell_text(cell: Mapping, decimals: int) -> str:
    """A number with its interval, or why there is none."""
    if cell["status"] == "not run":
        return f"not run: {cell['reason']}"
    if cell["status"] in (REFERENCE, NOT_JUDGED):
        return "-"
    text = f"{cell['value']:.{decimals}f} [{cell['low']:.{decimals}f}, {cell['high']:.{decimals}f}]"
    excluded = len(cell.get("excluded", {}))
    return text + (f" ({excluded} excluded)" if excluded else "")


def steps_text(steps: int | None, temperature: float | None = None) -> str:
    """Solver steps in words, and the temperature where it is not 1; no steps are a decoder that does not iterate."""
    if steps is None:
        return "one pass"
    return f"{steps} step{'s' * (steps > 1)}" + ("" if temperature in (None, 1) else f", temperature {temperature:g}")


def machine_text(machine: Mapping) -> str:
    """The machine of a results file in one line."""
    return ", ".join(
        [
            f"{machine['processor']}, {machine['cores']} cores",
            machine["memory"],
            f"accelerator: {machine['accelerator']}",
            f"Python {machine['python']}, torch {machine['torch']}",
        ]
    )


def provenance_lines(made: Mapping) -> list[str]:
    """Command, commit and machine, one a line."""
    lines = [f"- {key.replace('_', ' ')}: `{value}`" for key, value in made.items() if key != "machine"]
    return lines + ([f"- machine: {machine_text(made['machine'])}"] if "machine" in made else [])
