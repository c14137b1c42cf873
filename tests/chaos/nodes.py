"""Steps of random programs: each knows how it is written in a definition and what it must come to."""

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.values import answer_value, digest, effect_value, form_value, signal_value

RETRY = {"max_attempts": 40, "backoff": "constant", "initial": "100ms", "jitter": 0.5}
"""Kills must never use attempts up: they are what we test, and not the step's failure."""
SUCCEEDED, FAILED, SKIPPED = "succeeded", "failed", "skipped"


@dataclass
class Effect:
    """What the ledger has to show of one step, item or iteration."""

    step: str
    kind: str = "effect"
    least: int = 1
    """Arrivals that must have been, refused ones included."""
    at_most_once: bool = False


@dataclass
class Result:
    """What one step has to come to. `decided`: an attempt of unknown outcome may have been settled by a person, or failed as crashed."""

    status: str = SUCCEEDED
    output: Any = None
    error: str | None = None
    items: list[Any] | None = None
    may_crash: bool = False
    exact: bool = True
    """False: the output is only a part of what is there (times, headers and names stand beside it)."""


@dataclass
class Run:
    """A run's values while it is computed beforehand."""

    inputs: dict[str, Any]
    witness: str
    results: dict[str, Result] = field(default_factory=dict)
    effects: dict[str, Effect] = field(default_factory=dict)
    signals: dict[str, int] = field(default_factory=dict)

    @property
    def token(self) -> str:
        return str(self.inputs["token"])


@dataclass
class Node:
    """One step. `parts` are names of earlier steps, or `n`, an input."""

    name: str
    parts: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    """Keys of the step besides its kind: needs, join, when, on_error."""
    choice: tuple[str, bool] | None = None
    """The router and whether its condition must be true for this step."""
    runs_if: tuple[int, int] | None = None
    """`when: inputs.n % a == b`"""
    whole: bool = True
    """Whether others may read the whole output: it holds nothing that differs from run to run."""

    def step(self, witness: str) -> dict[str, Any]:
        """As a step of a definition."""
        body = {**self.body(witness), **self.options}
        if self.runs_if:
            body["when"] = f"inputs.n % {self.runs_if[0]} == {self.runs_if[1]}"
        return body

    def body(self, witness: str) -> dict[str, Any]:
        raise NotImplementedError

    def come_to(self, run: Run) -> Result:
        """The result of this step, its effects noted in `run`."""
        raise NotImplementedError

    # --- what it reads

    def reads(self) -> list[str]:
        """The parts as values of a definition."""
        return [part_text(part) for part in self.parts]

    def values(self, run: Run) -> list[Any]:
        return [part_value(run, part) for part in self.parts]

    def tag(self, run: Run, place: str = "") -> str:
        return f"{run.token}/{self.name}{place}"

    @property
    def tag_text(self) -> str:
        return "${{ inputs.token }}/" + self.name


def part_text(part: str) -> str:
    return "${{ inputs.n }}" if part == "n" else "${{ steps." + part + ".output }}"


def part_value(run: Run, part: str) -> Any:
    if part == "n":
        return run.inputs["n"]
    result = run.results[part]
    return result.output if result.items is None else result.items


def python(function: str, **args: Any) -> dict[str, Any]:
    """A step that calls one of our functions."""
    return {"python": {"function": f"tests.chaos.functions:{function}", "args": args}}


class Set(Node):
    def body(self, witness: str) -> dict[str, Any]:
        return {"set": {"value": "${{ inputs.n + " + str(len(self.name)) + " }}", "parts": self.reads()}}

    def come_to(self, run: Run) -> Result:
        return Result(output={"value": run.inputs["n"] + len(self.name), "parts": self.values(run)})


@dataclass
class Python(Node):
    """An effect by a function; refused `fail_first` times before it is accepted."""

    fail_first: int = 0
    delay: float = 0.0

    def body(self, witness: str) -> dict[str, Any]:
        extra = {name: value for name, value in (("fail_first", self.fail_first), ("delay", self.delay)) if value}
        return {**python("effect", witness=witness, tag=self.tag_text, parts=self.reads(), **extra), "retry": RETRY}

    def come_to(self, run: Run) -> Result:
        run.effects[self.tag(run)] = Effect(self.name, least=1 + self.fail_first)
        return Result(output={"value": effect_value(self.tag(run), self.values(run))})


@dataclass
class Crashing(Node):
    """An effect, after which the process dies: the one of this step alone, or one that carries out many."""

    function: str = "isolated"
    how: str = "exit"
    crash_first: int = 1

    def body(self, witness: str) -> dict[str, Any]:
        body = python(self.function, witness=witness, tag=self.tag_text, parts=self.reads(), crash_first=self.crash_first, how=self.how)
        alone = {"resources": {"num_cpus": 0.1, "start_within": "120s"}} if self.function == "isolated" else {}
        return {**body, **alone, "retry": RETRY}

    def come_to(self, run: Run) -> Result:
        run.effects[self.tag(run)] = Effect(self.name, least=1 + self.crash_first)
        return Result(output={"value": effect_value(self.tag(run), self.values(run))})


@dataclass
class Once(Node):
    """At most once. After a crash in the middle it fails as crashed, or a person who knows better says what it came to."""

    on_crash: str = "fail"

    def body(self, witness: str) -> dict[str, Any]:
        body = python("effect", witness=witness, tag=self.tag_text, parts=["once"], delay=0.05)
        return {**body, "retry": {"max_attempts": 1}, "on_crash": self.on_crash, "on_error": "continue"}

    def come_to(self, run: Run) -> Result:
        run.effects[self.tag(run)] = Effect(self.name, least=0, at_most_once=True)
        return Result(output={"value": effect_value(self.tag(run), ["once"])}, may_crash=self.on_crash == "fail")


@dataclass
class Http(Node):
    fail_first: int = 0
    whole: bool = False

    def body(self, witness: str) -> dict[str, Any]:
        sent = {"tag": self.tag_text, "parts": self.reads(), "fail_first": self.fail_first}
        return {"http": {"method": "POST", "url": f"{witness}/effect", "body": sent}, "retry": RETRY}

    def come_to(self, run: Run) -> Result:
        run.effects[self.tag(run)] = Effect(self.name, least=1 + self.fail_first)
        answer = {"tag": self.tag(run), "value": effect_value(self.tag(run), self.values(run))}
        return Result(output={"status": 200, "body": answer}, exact=False)


@dataclass
class Agent(Node):
    script: str = ""

    def body(self, witness: str) -> dict[str, Any]:
        output = {"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]}
        # What a refusal teaches is learned of a model: those that are refused without having done anything wrong leave the others in peace.
        model = {"model": f"openai:busy-{self.name}"} if "429" in self.script else {}
        return {"agent": {"prompt": f"[[tag: {self.tag_text}]] n is ${{{{ inputs.n }}}}. {self.script}".strip(), "output": output, **model}, "retry": RETRY}

    def come_to(self, run: Run) -> Result:
        prompt = f"[[tag: {self.tag(run)}]] n is {run.inputs['n']}."
        run.effects[self.tag(run)] = Effect(self.name, kind="model")
        return Result(output={"value": answer_value(prompt)})


@dataclass
class Map(Node):
    """Over the run's items: pure values, effects, requests, or child runs."""

    of: str = "effect"
    child: "Any" = None
    fail_first: int = 0

    def body(self, witness: str) -> dict[str, Any]:
        tag, spread = self.tag_text + "/${{ index }}", {"map": {"over": "inputs.items", "concurrency": 20}}
        if self.of == "set":
            return {"set": {"value": "${{ item * 3 + index }}"}, **spread}
        if self.of == "workflow":
            inputs = {"token": tag, "n": "${{ item }}", "items": []}
            return {"workflow": {"name": self.child.name, "inputs": inputs}, **spread, "retry": RETRY}
        return {**python("effect", witness=witness, tag=tag, parts=["${{ item }}", *self.reads()], fail_first=self.fail_first), **spread, "retry": RETRY}

    def come_to(self, run: Run) -> Result:
        return Result(items=[self._item(run, index, item) for index, item in enumerate(run.inputs["items"])])

    def _item(self, run: Run, index: int, item: int) -> Any:
        if self.of == "set":
            return {"value": item * 3 + index}
        tag = self.tag(run, f"/{index}")
        if self.of == "workflow":
            return child_output(run, self.child, {"token": tag, "n": item, "items": []})
        run.effects[tag] = Effect(f"{self.name}[{index}]", least=1 + self.fail_first)
        return {"value": effect_value(tag, [item, *self.values(run)])}


@dataclass
class Loop(Node):
    """An effect (or a value) again and again, each from the one before, until it can be divided by three or `most` is reached."""

    of: str = "effect"
    most: int = 4

    def body(self, witness: str) -> dict[str, Any]:
        loop = {"until": f"output.value % 3 == 0 || iteration >= {self.most - 1}", "max_iterations": self.most + 5}
        parts = ["${{ iteration }}", "${{ previous }}"]
        if self.of == "set":
            return {"set": {"value": "${{ inputs.n + iteration }}"}, "loop": loop}
        return {**python("effect", witness=witness, tag=self.tag_text + "/${{ iteration }}", parts=parts), "loop": loop, "retry": RETRY}

    def come_to(self, run: Run) -> Result:
        previous: Any = None
        for iteration in range(self.most):
            tag = self.tag(run, f"/{iteration}")
            if self.of == "set":
                previous = {"value": run.inputs["n"] + iteration}
            else:
                run.effects[tag] = Effect(f"{self.name}#{iteration}")
                previous = {"value": effect_value(tag, [iteration, previous])}
            if previous["value"] % 3 == 0:
                break
        return Result(output=previous)


@dataclass
class Child(Node):
    child: "Any" = None

    def body(self, witness: str) -> dict[str, Any]:
        inputs = {"token": self.tag_text, "n": "${{ inputs.n + 1 }}", "items": "${{ inputs.items }}"}
        return {"workflow": {"name": self.child.name, "inputs": inputs}, "retry": RETRY}

    def come_to(self, run: Run) -> Result:
        return Result(output=child_output(run, self.child, {"token": self.tag(run), "n": run.inputs["n"] + 1, "items": run.inputs["items"]}))


def child_output(run: Run, program: Any, inputs: dict[str, Any]) -> Any:
    """What a child run gives back; its effects are the parent's as well."""
    expected = program.expect(inputs, run.witness)
    run.effects.update(expected.effects)
    return expected.output


@dataclass
class Switch(Node):
    """Takes `then` when n can be divided by two."""

    then: str = ""
    other: str = ""

    def body(self, witness: str) -> dict[str, Any]:
        return {"switch": [{"when": "inputs.n % 2 == 0", "then": self.then}, {"else": self.other}]}

    def come_to(self, run: Run) -> Result:
        return Result(output=self.then if run.inputs["n"] % 2 == 0 else self.other)


@dataclass
class Fragile(Node):
    """Fails for good when n says so; with `goto` another step takes over, else the run goes on or fails, by its `on_error`."""

    modulus: int = 2
    goto: str | None = None

    def body(self, witness: str) -> dict[str, Any]:
        fails = "${{ inputs.n % " + str(self.modulus) + " == 0 }}"
        return {**python("fragile", witness=witness, tag=self.tag_text, parts=self.reads(), fails=fails), "retry": RETRY}

    def come_to(self, run: Run) -> Result:
        if run.inputs["n"] % self.modulus == 0:
            return Result(FAILED, error="planned")
        run.effects[self.tag(run)] = Effect(self.name)
        return Result(output={"value": effect_value(self.tag(run), self.values(run))})


@dataclass
class Wait(Node):
    whole: bool = False
    duration: str = "200ms"

    def body(self, witness: str) -> dict[str, Any]:
        return {"wait": {"for": self.duration}}

    def come_to(self, run: Run) -> Result:
        return Result(output={}, exact=False)


@dataclass
class Approval(Node):
    whole: bool = False

    def body(self, witness: str) -> dict[str, Any]:
        form = {"type": "object", "properties": {"mark": {"type": "integer"}}, "required": ["mark"]}
        return {"approval": {"message": "Go on?", "form": form, "show": self.tag_text, "on_reject": "fail"}}

    def come_to(self, run: Run) -> Result:
        return Result(output={"approved": True, "form": {"mark": form_value(self.tag(run))}}, exact=False)


class Signal(Node):
    def body(self, witness: str) -> dict[str, Any]:
        return {"signal": {"name": self.name}}

    def come_to(self, run: Run) -> Result:
        value = signal_value(run.token, self.name)
        run.signals[self.name] = value
        return Result(output={"value": value})


def summary(values: list[Any]) -> int:
    """What the step that reads all others comes to."""
    return digest(values)
