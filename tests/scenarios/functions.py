"""The tools of the scenarios. What they did is seen in files, because the test is another process: one line for each execution."""

from pathlib import Path


def _note(file: str, text: object) -> None:
    with Path(file).open("a") as lines:
        lines.write(f"{text}\n")


async def add(file: str, a: int, b: int) -> int:
    """Add two numbers."""
    _note(file, f"{a}+{b}")
    return a + b


async def pay(file: str, amount: int) -> str:
    """Pay an invoice."""
    _note(file, amount)
    return f"paid {amount}"
