"""Writes the documents that are derived from code: `make docs`. A test fails while one of them is out of date."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from runtime.engine.events import Kind
from runtime.engine.states import RUN_TRANSITIONS, STEP_TRANSITIONS, TERMINAL_RUN, TERMINAL_STEP, RunStatus, StepStatus, WaitingFor

ROOT = Path(__file__).parents[1]
S = TypeVar("S", bound=StrEnum)

HEAD = """# State machines

Generated from `runtime/engine/states.py` by `make docs`; edit the tables there, not this page.

The engine folds every event through these tables, and nothing else changes a state: an event that has no cell for the present
state is a broken invariant, stops that run and is reported. The tests try every pair of state and event.
A crash is not a state: a run whose owner died is still `running` and gets another owner.
"""


def state_machine() -> str:
    """The text of docs/state-machine.md."""
    waiting = ", ".join(f"`{reason}`" for reason in WaitingFor)
    return "\n".join(
        (
            HEAD,
            "## Runs\n",
            _diagram(RUN_TRANSITIONS, RunStatus.QUEUED, TERMINAL_RUN),
            f"\nA waiting run says what it waits for: {waiting}. When several apply, the first of this list is shown.\n",
            _table(RUN_TRANSITIONS, list(RunStatus)),
            "\n## Steps\n",
            _diagram(STEP_TRANSITIONS, StepStatus.PENDING, TERMINAL_STEP),
            "",
            _table(STEP_TRANSITIONS, list(StepStatus)),
        )
    )


def _diagram(transitions: Mapping[Kind, Mapping[S, S]], first: S, ends: frozenset[S]) -> str:
    """Mermaid; events between the same two states share one arrow, and those that change nothing are left to the table."""
    arrows: dict[tuple[S, S], list[str]] = {}
    for kind, changes in transitions.items():
        for before, after in changes.items():
            if before != after:
                arrows.setdefault((before, after), []).append(kind.value)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {before} --> {after}: {', '.join(kinds)}" for (before, after), kinds in arrows.items()]
    lines += [f"    {end} --> [*]" for end in sorted(ends)]
    return "\n".join([*lines, "```"])


def _table(transitions: Mapping[Kind, Mapping[S, S]], states: list[S]) -> str:
    """Rows are events, columns the state before, cells the state after."""
    lines = [f"| event | {' | '.join(states)} |", "|---" * (len(states) + 1) + "|"]
    for kind, changes in transitions.items():
        lines.append(f"| `{kind.value}` | {' | '.join(changes[state].value if state in changes else '' for state in states)} |")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """README.md with the line counts of the files it recommends."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\]\((runtime/[\w/]+\.py)\) \| \d* \|", lambda match: f"]({match[1]}) | {_lines(match[1])} |", text)


def _lines(name: str) -> int:
    return len((ROOT / name).read_text(encoding="utf-8").splitlines())


DOCUMENTS = {"docs/state-machine.md": state_machine, "README.md": readme}

if __name__ == "__main__":
    for name, text in DOCUMENTS.items():
        (ROOT / name).write_text(text(), encoding="utf-8")
