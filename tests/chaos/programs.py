"""Seeded random programs, and what each run of them must come to, computed beforehand in plain Python."""

import random
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import nodes
from tests.chaos.nodes import FAILED, SKIPPED, SUCCEEDED, Effect, Node, Result, Run

MOST_STEPS = 40
DEPTH = 4
INPUTS = {"token": {"type": "string"}, "n": {"type": "integer"}, "items": {"type": "array", "items": {"type": "integer"}}}

Weights = dict[str, float]
_MIXED: Weights = {
    "set": 3,
    "python": 5,
    "http": 3,
    "agent": 2,
    "map_effect": 2,
    "map_set": 1,
    "loop_effect": 1.5,
    "loop_set": 0.7,
    "child": 1.5,
    "map_child": 0.7,
    "switch": 1.5,
    "flaky": 1,
    "flaky_http": 0.7,
    "continue": 0.8,
    "goto": 0.7,
    "once": 1,
    "ask": 0.7,
    "wait": 0.6,
    "approval": 0.3,
    "signal": 0.3,
}
PROFILES: dict[str, Weights] = {
    "mixed": _MIXED,
    "plain": {name: weight for name, weight in _MIXED.items() if name not in {"approval", "signal", "wait", "ask"}},
    "crashing": {**_MIXED, "isolated": 2.0, "crash_alone": 1.2, "crash_shared": 0.05},
    "rarely crashing": {**_MIXED, "isolated": 0.5, "crash_alone": 0.25, "crash_shared": 0.02},
    "agents": {**_MIXED, "agent": 12, "http": 6},
    "short": {"set": 2, "python": 4, "http": 2, "switch": 1},
}
"""How often which kinds of steps come."""


@dataclass
class Expected:
    """What a run must come to. `steps` of a run that is to fail names those that must be right if they were carried out."""

    status: str
    output: Any
    steps: dict[str, Result]
    effects: dict[str, Effect]
    signals: dict[str, int]
    error: str | None = None


@dataclass
class Program:
    """One workflow. `final` are steps of `finally`; `fails_at` is a step whose failure is the run's."""

    name: str
    nodes: dict[str, Node] = field(default_factory=dict)
    final: dict[str, Node] = field(default_factory=dict)
    children: list["Program"] = field(default_factory=list)
    fails_at: str | None = None
    size: int = 0

    def definition(self, witness: str) -> dict[str, Any]:
        """The document to publish."""
        readable = [name for name, node in self.nodes.items() if node.whole]
        return {
            "name": self.name,
            "inputs": INPUTS,
            "defaults": {"model": "openai:witness"},
            "steps": {name: node.step(witness) for name, node in self.nodes.items()},
            **({"finally": {name: node.step(witness) for name, node in self.final.items()}} if self.final else {}),
            "outputs": {"n": "inputs.n", **{name: f"steps.{name}.output" for name in readable}},
        }

    def all(self) -> list["Program"]:
        """Those it calls first, then itself: the order in which they are published."""
        return [*(each for child in self.children for each in child.all()), self]

    def expect(self, inputs: dict[str, Any], witness: str) -> Expected:
        """Compute a run."""
        run = Run(inputs, witness)
        for name, node in self.nodes.items():
            run.results[name] = node.come_to(run) if self._starts(run, name, node) else Result(SKIPPED)
        failed = self.fails_at if self.fails_at and run.results[self.fails_at].status == FAILED else None
        for name, node in self.final.items():
            run.results[name] = node.come_to(run)
        readable = {name: nodes.part_value(run, name) for name, node in self.nodes.items() if node.whole}
        output = None if failed else {"n": inputs["n"], **readable}
        error = run.results[failed].error if failed else None
        return Expected(FAILED if failed else SUCCEEDED, output, run.results, run.effects, run.signals, error)

    def _starts(self, run: Run, name: str, node: Node) -> bool:
        if node.choice is not None:
            router, wanted = node.choice
            result = run.results[router]
            chosen = result.status == FAILED if isinstance(self.nodes[router], nodes.Fragile) else (run.inputs["n"] % 2 == 0) == wanted
            if result.status == SKIPPED or not chosen:
                return False
        needs = [part for part in (*node.parts, *node.options.get("needs", ())) if part != "n"]
        met = [self._counts(run, need) for need in needs]
        ready = (not met or any(met)) if node.options.get("join") == "any" else all(met)
        return ready and (node.runs_if is None or run.inputs["n"] % node.runs_if[0] == node.runs_if[1])

    def _counts(self, run: Run, need: str) -> bool:
        """Whether a step that waits for `need` may start: it succeeded, or failed where that does not matter."""
        result = run.results[need]
        return result.status == SUCCEEDED or (result.status == FAILED and self.nodes[need].options.get("on_error") == "continue")


def inputs(rng: random.Random, token: str, *, most_items: int = 6) -> dict[str, Any]:
    """Inputs of one run. The token makes its effects its own."""
    return {"token": token, "n": rng.randrange(10_000), "items": [rng.randrange(1000) for _ in range(rng.randint(1, most_items))]}


class Writer:
    """Writes one random program."""

    def __init__(self, rng: random.Random, name: str, weights: Weights, *, depth: int, budget: int) -> None:
        self.rng, self.weights, self.depth, self.budget = rng, weights, depth, budget
        self.program = Program(name)
        self._count = 0

    def write(self, wanted: int) -> Program:
        """About so many steps; never more than the budget, children included."""
        kinds, weights = zip(*self.weights.items(), strict=True)
        while self._count < min(wanted, self.budget):
            kind = self.rng.choices(kinds, weights)[0]
            getattr(self, f"_{kind}")()
        self._end()
        self.program.size = self._count
        return self.program

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _add(self, node: Node) -> Node:
        self.program.nodes[node.name] = node
        return node

    def _parts(self, most: int = 3) -> list[str]:
        """Some earlier steps whose outputs may be read, rather the last ones, or the input."""
        readable = [name for name, node in self.program.nodes.items() if node.whole and node.choice is None and node.runs_if is None]
        chosen = self.rng.sample(readable[-6:], min(len(readable[-6:]), self.rng.randint(0, most)))
        return chosen or ["n"]

    # --- one kind each

    def _set(self) -> None:
        self._add(nodes.Set(self._name("set"), self._parts()))

    def _python(self) -> None:
        skipped = (self.rng.choice((2, 3)), 0) if self.rng.random() < 0.15 else None
        self._add(nodes.Python(self._name("py"), self._parts(), runs_if=skipped))

    def _flaky(self) -> None:
        self._add(nodes.Python(self._name("flaky"), self._parts(), fail_first=self.rng.randint(1, 3)))

    def _http(self) -> None:
        self._add(nodes.Http(self._name("http"), self._parts()))

    def _flaky_http(self) -> None:
        self._add(nodes.Http(self._name("fhttp"), self._parts(), fail_first=self.rng.randint(1, 2)))

    def _agent(self) -> None:
        chance, script = self.rng.random(), ""
        if chance < 0.1:
            # Rarely a 429: it says that we ask too fast, and whoever hears it from every tenth call whatever the pace ends at one call a second.
            script = f"[[script: {429 if chance < 0.01 else 503} retry_after=0.2 x1]]"
        self._add(nodes.Agent(self._name("agent"), options={"needs": self._needs()}, script=script))

    def _map_effect(self) -> None:
        self._add(nodes.Map(self._name("map"), self._parts(2), fail_first=1 if self.rng.random() < 0.2 else 0))

    def _map_set(self) -> None:
        self._add(nodes.Map(self._name("mset"), of="set"))

    def _loop_effect(self) -> None:
        self._add(nodes.Loop(self._name("loop"), options={"needs": self._needs()}, most=self.rng.randint(2, 5)))

    def _loop_set(self) -> None:
        self._add(nodes.Loop(self._name("lset"), of="set"))

    def _child(self) -> None:
        if child := self._written():
            self._add(nodes.Child(self._name("sub"), options={"needs": self._needs()}, child=child))

    def _map_child(self) -> None:
        if child := self._written():
            self._add(nodes.Map(self._name("msub"), of="workflow", child=child))

    def _switch(self) -> None:
        then, other = self._name("yes"), self._name("no")
        router = self._add(nodes.Switch(self._name("route"), options={"needs": self._needs()}, then=then, other=other))
        first = self._add(nodes.Python(then, choice=(router.name, True)))
        second = self._add(nodes.Set(other, choice=(router.name, False)))
        self._add(nodes.Set(self._name("joined"), [first.name, second.name], options={"join": "any"}))

    def _goto(self) -> None:
        handler = self._name("excuse")
        fragile = self._add(nodes.Fragile(self._name("try"), self._parts(1), options={"on_error": {"goto": handler}}, goto=handler))
        self._add(nodes.Set(handler, choice=(fragile.name, True)))
        self._add(nodes.Python(self._name("after"), [fragile.name, handler], options={"join": "any"}))

    def _continue(self) -> None:
        self._add(nodes.Fragile(self._name("may"), self._parts(1), options={"on_error": "continue"}, modulus=self.rng.choice((2, 3))))

    def _once(self) -> None:
        node = self._add(nodes.Once(self._name("once"), options={"needs": self._needs()}))
        node.whole = False

    def _ask(self) -> None:
        if self.depth == DEPTH:
            self._add(nodes.Once(self._name("ask"), options={"needs": self._needs()}, on_crash="ask", whole=False))

    def _wait(self) -> None:
        self._add(nodes.Wait(self._name("wait"), options={"needs": self._needs()}, duration=f"{self.rng.randint(50, 800)}ms"))

    def _approval(self) -> None:
        if self.depth == DEPTH:
            self._add(nodes.Approval(self._name("ok"), options={"needs": self._needs()}))

    def _signal(self) -> None:
        if self.depth == DEPTH:
            self._add(nodes.Signal(self._name("sig"), options={"needs": self._needs()}))

    def _isolated(self) -> None:
        self._add(nodes.Crashing(self._name("iso"), self._parts(), crash_first=0))

    def _crash_alone(self) -> None:
        self._add(nodes.Crashing(self._name("dies"), self._parts(), how=self.rng.choice(("exit", "segfault"))))

    def _crash_shared(self) -> None:
        self._add(nodes.Crashing(self._name("kills"), self._parts(), function="crash", how=self.rng.choice(("exit", "segfault"))))

    # --- the rest

    def _needs(self) -> list[str]:
        """Some earlier step to wait for whose output is not read: also those whose output differs from run to run."""
        known = [name for name, node in self.program.nodes.items() if node.choice is None and node.runs_if is None and not _may_be_skipped(node)]
        return [self.rng.choice(known[-6:])] if known and self.rng.random() < 0.7 else []

    def _written(self) -> Program | None:
        """A child program of two to five steps, if depth and budget allow one."""
        left = self.budget - self._count - 3
        if self.depth <= 1 or left < 2:
            return None
        name = f"{self.program.name}-{chr(ord('a') + len(self.program.children))}"
        writer = Writer(self.rng, name, PROFILES["plain"], depth=self.depth - 1, budget=min(left, 6))
        child = writer.write(self.rng.randint(2, 5))
        self.program.children.append(child)
        self._count += child.size
        return child

    def _end(self) -> None:
        if self.rng.random() < 0.4:
            self.program.final["tell"] = nodes.Python("tell")
        if self.depth == DEPTH and self.rng.random() < 0.25:
            self.program.fails_at = self._add(nodes.Fragile("fatal", self._parts(1), modulus=5)).name


def _may_be_skipped(node: Node) -> bool:
    return isinstance(node, nodes.Fragile | nodes.Once)


def write_programs(rng: random.Random, count: int, profile: str) -> list[Program]:
    """So many different programs: most are small, some have all the steps there may be."""
    found = []
    for number in range(count):
        wanted = rng.choice((2, 3, 5, 8, 8, 12, 16, 24)) if number else MOST_STEPS - 6
        budget = min(MOST_STEPS - 2, wanted + 4) if number else MOST_STEPS - 2
        found.append(Writer(rng, f"p{number}", PROFILES[profile], depth=DEPTH, budget=budget).write(wanted))
    return found
