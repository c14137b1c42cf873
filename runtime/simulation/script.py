"""A stage on which models, tools, http steps and functions say what a script says; whatever it does not name does what it does in every simulated run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.agents.context import AgentContext, Execute
from runtime.agents.tools import registered
from runtime.simulation.answers import Answers
from runtime.simulation.replies import failure_of, http_outcome
from runtime.simulation.stand_ins import NamedModels, NamedTools
from runtime.steps.context import Work
from runtime.steps.outcome import Outcome
from runtime.steps.protocol import StepCall


@dataclass(frozen=True, slots=True)
class Script:
    """Who says what. Steps go by their id, those of other workflows by `workflow/step`; tools by the name a model sees."""

    models: Mapping[str, Answers] = field(default_factory=dict)
    tools: Mapping[str, Answers] = field(default_factory=dict)
    http: Mapping[str, Answers] = field(default_factory=dict)
    functions: Mapping[str, Answers] = field(default_factory=dict)

    def left(self) -> Iterator[str]:
        """What was never asked for, as sentences."""
        for what, answers in (("model", self.models), ("tool", self.tools), ("http step", self.http), ("function of step", self.functions)):
            for name, given in answers.items():
                if count := given.left():
                    yield f"{count} answers of {what} {name} were not asked for"


class ScriptStage:
    """Gives the answers of a script."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def answer(self, kind: str, spec: dict[str, Any], work: Work) -> Outcome | None:
        """An answer for an http or python step that has one. Raises StepFailed as the script says, or `script_over`."""
        answers = _of({"http": self._script.http, "python": self._script.functions}.get(kind, {}), work.call)
        if answers is None or not answers.applies(work.index):
            return None
        entry = answers.take(work.index, f"step {work.call.step_key}")
        if kind == "http":
            return http_outcome(entry, spec)
        return Outcome(_returned(entry))

    def context(self, context: AgentContext, spec: dict[str, Any], work: Work) -> AgentContext:
        """The surroundings of an agent: scripted tools, and a scripted model where the script has one."""
        foreign = [name for name in self._script.tools if not _is_function(name, spec)]
        given = replace(context, source=self._source(work), toolsets=NamedTools(foreign))
        answers = _of(self._script.models, work.call)
        if answers is None or not answers.applies(work.index):
            return given
        from runtime.simulation.speaking import speaker

        layer = speaker(lambda: answers.take(work.index, f"the model of step {work.call.step_key}"), spec.get("output"))
        return replace(given, scripted=True, providers=NamedModels(), layers=(*context.layers, layer))

    def _source(self, work: Work) -> Any:
        async def source(name: str, _number: int, _call_id: str | None, _asked: str | None, execute: Execute) -> Any:
            answers = self._script.tools.get(name.removeprefix("tool:")) if name.startswith("tool:") else None
            if answers is None or not answers.applies(work.index):
                return await execute()
            entry = answers.take(work.index, f"the tool {name[5:]}")
            if isinstance(entry, dict) and entry.keys() == {"fail"}:
                return {"failed": str(entry["fail"])}
            return {"value": _returned(entry)}

        return source


def _returned(entry: Any) -> Any:
    """What `{returns: value}` stands for, or a value that stands for itself. Raises StepFailed for `{fail: code}`."""
    if (failed := failure_of(entry)) is not None:
        raise failed
    return entry["returns"] if isinstance(entry, dict) and entry.keys() == {"returns"} else entry


def _of(answers: Mapping[str, Answers], call: StepCall) -> Answers | None:
    return answers.get(f"{call.workflow}/{call.step}") or answers.get(call.step)


def _is_function(name: str, spec: dict[str, Any]) -> bool:
    references = [entry for entry in spec.get("tools") or () if isinstance(entry, str)]
    return any(name == reference.rpartition(":")[2] or (name == reference and name in registered()) for reference in references)
