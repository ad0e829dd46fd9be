"""How commands say a line."""

from rich.console import Console


def say(console: Console, line: str) -> None:
    """Prints a line as it is."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)
