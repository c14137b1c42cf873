"""The programs of code steps: whether they can be read, found out in a worker process and without running them."""

import keyword

from runtime.definition.findings import Findings
from runtime.definition.pointers import join
from runtime.definition.structure import Draft
from runtime.errors import Problem

_HINT = "; a program is no template: give it values by name, as `inputs`"


def check_programs(draft: Draft, findings: Findings) -> None:
    """Problems of all programs: the first of each, and names it could never read. Raises Overloaded when none can be read at the moment."""
    found: dict[str, str] = {}
    for section, steps in (("/steps", draft.steps), ("/finally", draft.final)):
        for id_, step in steps.items():
            if step is not None and step.code is not None:
                pointer = join(section, id_, "code")
                found[join(pointer, "source")] = step.code.source
                for name in filter(keyword.iskeyword, step.code.inputs):
                    findings.add(join(pointer, "inputs", name), f"'{name}' is a word of Python; give the input another name", at_key=True)
    if not found:
        return
    from runtime.sandbox.syntax import syntax_problems

    for (pointer, source), problem in zip(found.items(), syntax_problems(list(found.values())), strict=True):
        if problem is not None:
            detail = problem.detail + (_HINT if "${{" in source else "")
            findings.add_within(pointer, source, [Problem("", detail, problem.line, problem.column)])
