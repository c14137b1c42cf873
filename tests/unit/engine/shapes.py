"""Random definitions: every kind of step, dependencies, switches, joins, failures that go elsewhere, maps, loops, `finally`. Edges point forwards only."""

from typing import Any

from hypothesis import strategies as st

ATTEMPTS = ("python", "agent", "workflow")
MAPPABLE = ("python", "agent", "set", "workflow")
KINDS: dict[str, dict[str, Any]] = {
    "python": {"python": {"function": "m:f", "args": {"l": "${{ inputs.l }}"}}},
    "agent": {"agent": {"prompt": "hello"}},
    "set": {"set": {"v": "${{ inputs.l }}", "r": "${{ run.id }}"}},
    "workflow": {"workflow": {"name": "other", "inputs": {"l": "${{ inputs.l }}"}}},
}
WAITING = st.one_of(
    st.builds(lambda expires: {"signal": {"name": "go", **expires}}, st.sampled_from([{}, {"expires": "10m"}])),
    st.builds(lambda time: {"wait": {"for": time}}, st.sampled_from(["0s", "1s", "1m"])),
    st.builds(
        lambda expiry, reject: {"approval": {"message": "well?", "on_reject": reject, **expiry}},
        st.sampled_from([{}, *({"expires": "10m", "on_expiry": what} for what in ("reject", "approve", "fail"))]),
        st.sampled_from(["fail", "continue"]),
    ),
)
RETRIES = st.fixed_dictionaries({"max_attempts": st.integers(1, 3), "initial": st.sampled_from(["0s", "1s", "30s"]), "jitter": st.sampled_from([0.0, 0.5])})
MAPS = st.fixed_dictionaries(
    {"over": st.sampled_from(["inputs.l", "[1, 2]", "inputs.e"]), "concurrency": st.integers(1, 3), "max_failures": st.sampled_from([0, 1, "50%", "100%"])}
)
LOOPS = st.fixed_dictionaries(
    {
        "max_iterations": st.integers(1, 3),
        "until": st.sampled_from(["false", "iteration == 1", "output != null", "output.gone"]),
        "on_limit": st.sampled_from(["succeed", "fail"]),
        "delay": st.sampled_from(["0s", "1s", "1m"]),
    }
)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A valid definition's document."""
    names = [f"s{at}" for at in range(draw(st.integers(1, 7)))]
    finals = [f"f{at}" for at in range(draw(st.integers(0, 2)))]
    document: dict[str, Any] = {
        "name": "random",
        "inputs": {"l": {"type": "array"}, "e": {"type": "array"}},
        "steps": {name: _step(draw, names[:at], names[at + 1 :]) for at, name in enumerate(names)},
    }
    if finals:
        document["finally"] = {name: _step(draw, finals[:at], []) for at, name in enumerate(finals)}
    if draw(st.booleans()):
        document["deadline"] = "20m"
    return document


def _step(draw: st.DrawFn, earlier: list[str], later: list[str]) -> dict[str, Any]:
    kind = draw(st.sampled_from([*KINDS, "python", "waiting", *(["switch", "switch"] if later else [])]))
    if kind == "switch":
        step: dict[str, Any] = {"switch": _cases(draw, later)}
    else:
        step = dict(draw(WAITING)) if kind == "waiting" else dict(KINDS[kind])
        repeated = draw(st.sampled_from(["no", "no", "loop", *(["map"] if kind in MAPPABLE else [])]))
        if repeated != "no":
            step[repeated] = draw(MAPS if repeated == "map" else LOOPS)
    if earlier:
        step["needs"] = draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True))
        step["join"] = draw(st.sampled_from(["all", "all", "any"]))
    if draw(st.integers(0, 5)) == 0:
        step["when"] = draw(st.sampled_from(["true", "false", "size(inputs.l) > 2", "inputs.l[9] == 1"]))
    if draw(st.integers(0, 4)) == 0:
        step["deadline"] = draw(st.sampled_from(["5s", "2m"]))
    if draw(st.booleans()):
        step["on_error"] = draw(st.sampled_from(["continue", "fail", *({"goto": other} for other in later)]))
    if kind in ATTEMPTS:
        step["retry"] = draw(RETRIES)
        step["on_crash"] = draw(st.sampled_from(["retry", "retry", "fail", "ask"]))
    return step


def _cases(draw: st.DrawFn, later: list[str]) -> list[dict[str, Any]]:
    conditions = st.sampled_from(["true", "false", "size(inputs.l) == 3"])
    targets = draw(st.lists(st.sampled_from(later), max_size=2))
    cases = [{"when": draw(conditions), "then": target} for target in targets]
    return [*cases, {"else": draw(st.sampled_from(later))}]
