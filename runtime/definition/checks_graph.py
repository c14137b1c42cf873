"""How steps depend on each other: every step that is named exists, in the right section, and nothing waits for itself."""

from collections.abc import Iterable, Mapping

from runtime.definition.findings import Findings
from runtime.definition.model import Goto, Step
from runtime.definition.names import did_you_mean
from runtime.definition.pointers import join
from runtime.definition.structure import Draft


def check_graph(draft: Draft, reads: Mapping[str, Mapping[str, str]], findings: Findings) -> None:
    """`reads`: pointer of a step → the steps its expressions read → pointer of the first expression that does."""
    for final in (False, True):
        section = "/finally" if final else "/steps"
        steps = draft.section(final=final)
        edges: dict[str, dict[str, str]] = {}
        for id_, step in steps.items():
            pointer = join(section, id_)
            edges[id_] = {other: where for other, where in reads.get(pointer, {}).items() if other in steps}
            if id_ in edges[id_]:
                findings.add(edges[id_].pop(id_), f"step '{id_}' reads itself; in a loop write previous or output")
            if step is not None:
                edges[id_] |= _needs(id_, step, pointer, draft, findings, final=final)
        for id_, step in steps.items():
            for target, where in _targets(step, join(section, id_)) if step is not None else ():
                _check_target(id_, target, where, draft, findings, final=final)
                if target in edges and target != id_:
                    edges[target][id_] = where
        _check_cycles(edges, findings)


def _needs(id_: str, step: Step, pointer: str, draft: Draft, findings: Findings, *, final: bool) -> dict[str, str]:
    found = {}
    for at, other in enumerate(step.needs):
        where = join(pointer, "needs", at)
        if other == id_:
            findings.add(where, f"step '{id_}' cannot need itself")
        elif other in draft.section(final=final):
            found[other] = where
        elif final and other in draft.steps:
            findings.add(where, f"steps in finally run after '{other}' in any case; leave it out of needs")
        else:
            findings.add(where, _unknown(other, draft, final=final))
    return found


def _targets(step: Step, pointer: str) -> Iterable[tuple[str, str]]:
    """Steps this one sends the run to, with the pointer of each."""
    for at, case in enumerate(step.switch or ()):
        if case.then is not None:
            yield case.then, join(pointer, "switch", at, "then")
        if case.otherwise is not None:
            yield case.otherwise, join(pointer, "switch", at, "else")
    if isinstance(step.on_error, Goto):
        yield step.on_error.goto, join(pointer, "on_error", "goto")


def _check_target(id_: str, target: str, where: str, draft: Draft, findings: Findings, *, final: bool) -> None:
    if target == id_:
        findings.add(where, f"step '{id_}' cannot go to itself; use retry or loop")
    elif target not in draft.section(final=final):
        findings.add(where, _unknown(target, draft, final=final))


def _unknown(other: str, draft: Draft, *, final: bool) -> str:
    if not final and other in draft.final:
        return f"step '{other}' is in finally, which runs after all others"
    return f"there is no step '{other}'{did_you_mean(other, draft.section(final=final))}"


def _check_cycles(edges: Mapping[str, Mapping[str, str]], findings: Findings) -> None:
    """Name each circle once, at the place that closes it. `edges`: step → the steps it waits for → why (pointer)."""
    done: set[str] = set()
    for start in edges:
        path: dict[str, None] = {}
        waiting = [(start, iter(edges[start]))] if start not in done else []
        path.update(dict.fromkeys(id_ for id_, _ in waiting))
        while waiting:
            id_, others = waiting[-1]
            other = next(others, None)
            if other is None:
                waiting.pop()
                path.pop(id_)
                done.add(id_)
            elif other in path:
                circle = [*list(path)[list(path).index(other) :], other]
                findings.add(edges[id_][other], f"steps wait for each other in a circle: {' → '.join(circle)}")
            elif other not in done:
                path[other] = None
                waiting.append((other, iter(edges[other])))
