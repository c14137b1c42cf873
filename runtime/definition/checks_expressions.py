"""Every expression and template of a definition: syntax, names, types; and texts that look as if they should have been expressions."""

import re
from collections.abc import Mapping
from typing import Any

from runtime.definition.expressions import ExpressionInvalid, compile_expression
from runtime.definition.fields import TEXT_OBJECTS, TEXTS, VALUES, always_text
from runtime.definition.findings import Findings
from runtime.definition.model import Step, StepKind
from runtime.definition.names import Names, did_you_mean
from runtime.definition.places import Places
from runtime.definition.pointers import join
from runtime.definition.structure import Draft
from runtime.definition.templates import TemplateInvalid, compile_text
from runtime.definition.tools import ALWAYS, NEVER, Entry
from runtime.errors import Problem

_BARE = re.compile(r"(?:steps|inputs|item|run|previous)(?:\.\w+|\[\d+\])+", re.ASCII)
_WORD = re.compile(r"\s*(?!(?:true|false)\b)\w+\s*", re.ASCII)
_ARGUMENTS = Names({"args": "dyn"})
_CONDITION = ("BOOL", "DYN")
_KEY = ("STRING", "INT", "UINT", "DOUBLE", "BOOL", "DYN")
_NO_JSON = ("BYTES", "TYPE", "optional_type")
_WORDS = {"STRING": "text", "INT": "a whole number", "DOUBLE": "a number", "BOOL": "true or false", "NULL": "null", "MAP": "an object", "LIST": "a list"}

Reads = dict[str, dict[str, str]]
"""Pointer of a step → steps it reads → pointer of the first expression that does."""


def check_expressions(draft: Draft, findings: Findings) -> Reads:
    """Problems of all expressions and templates; which steps read which others."""
    checker = _Checker(Places(draft), findings, {**draft.steps, **draft.final})
    for section, steps in (("/steps", draft.steps), ("/finally", draft.final)):
        for id_, step in steps.items():
            if step is not None:
                checker.step(step, join(section, id_), final=section == "/finally")
    checker.outputs(draft.outputs)
    checker.slot_key(draft.raw.get("concurrency"))
    return checker.reads


class _Checker:
    def __init__(self, places: Places, findings: Findings, steps: Mapping[str, Step | None]) -> None:
        self.places, self.findings, self.steps = places, findings, steps
        self.reads: Reads = {}
        self._of: dict[str, str] = {}
        """What the step being looked at reads."""

    def step(self, step: Step, pointer: str, *, final: bool) -> None:
        self._of = self.reads.setdefault(pointer, {})
        start = self.places.of_start(final=final)
        if step.when is not None:
            self.condition(step.when, join(pointer, "when"), start)
        if step.map is not None:
            self.elements(step.map.over, join(pointer, "map", "over"), start)
        if step.loop is not None and step.loop.until is not None:
            self.condition(step.loop.until, join(pointer, "loop", "until"), self.places.of_until(final=final))
        for at, case in enumerate(step.switch or ()):
            if case.when is not None:
                self.condition(case.when, join(pointer, "switch", at, "when"), start)
        self._templates(step, pointer, self.places.of_step(step, final=final))
        for at, entry in enumerate(step.agent.tools if step.agent is not None else ()):
            if isinstance(entry, Entry):
                self.consent(entry.approve, join(pointer, "agent", "tools", at, "approve"))

    def outputs(self, outputs: dict[str, str]) -> None:
        self._of = {}
        for name, source in outputs.items():
            self.expression(source, join("/outputs", name), self.places.of_start(final=False))

    def slot_key(self, limits: Any) -> None:
        source = limits.get("key") if isinstance(limits, dict) else None
        if not isinstance(source, str) or not source:
            return
        self._of = {}
        type_ = self.expression(source, "/concurrency/key", self.places.inputs)
        if type_ is not None and type_ not in _KEY:
            self.findings.add("/concurrency/key", f"a key is text, a number, or true or false, but this is {_word(type_)}")

    def _templates(self, step: Step, pointer: str, names: Names) -> None:
        for kind in StepKind:
            part = getattr(step, kind.value)
            if part is None:
                continue
            where = join(pointer, kind.value)
            if kind is StepKind.SET:
                self.value(part, where, names)
            for field in TEXTS.get(kind, ()):
                if getattr(part, field) is not None:
                    self.text(getattr(part, field), join(where, field), names)
            for field in TEXT_OBJECTS.get(kind, ()):
                for key, text in getattr(part, field).items():
                    self.text(text, join(where, field, key), names)
            for field in VALUES.get(kind, ()):
                self.value(getattr(part, field), join(where, field), names)
        for text, field in ((step.wait.for_, "for"), (step.wait.until, "until")) if step.wait else ():
            if isinstance(text, str):
                self.text(text, join(pointer, "wait", field), names)

    def condition(self, source: str, pointer: str, names: Names) -> None:
        type_ = self.expression(source, pointer, names)
        if type_ is not None and type_ not in _CONDITION:
            self.findings.add(pointer, f"a condition must be true or false, but this is {_word(type_)}")

    def consent(self, source: str, pointer: str) -> None:
        """When calls of a tool wait for a person."""
        if source in (ALWAYS, NEVER):
            return
        if _WORD.fullmatch(source):
            hint = did_you_mean(source, (ALWAYS, NEVER))
            self.findings.add(pointer, f"write {ALWAYS}, {NEVER}, or a condition over args, such as args.amount > 100{hint}")
        else:
            self.condition(source, pointer, _ARGUMENTS)

    def elements(self, source: str, pointer: str, names: Names) -> None:
        type_ = self.expression(source, pointer, names)
        if type_ is not None and type_ != "DYN" and not type_.startswith("LIST"):
            self.findings.add(pointer, f"map.over must be a list, but this is {_word(type_)}")

    def expression(self, source: str, pointer: str, names: Names) -> str | None:
        """The type of a bare expression's result; None when it has problems, which are then noted."""
        if "${{" in source:
            self.findings.add(pointer, "write the expression alone here, without ${{ }}")
            return None
        try:
            compiled = compile_expression(source, names)
        except ExpressionInvalid as error:
            self.findings.add_within(pointer, source, error.problems)
            return None
        self._note(compiled.names, pointer)
        if compiled.type.startswith(_NO_JSON):
            self.findings.add(pointer, f"the result is of type {compiled.type.lower()}, which is no JSON{_remedy(compiled.type)}")
            return None
        return compiled.type

    def text(self, text: str, pointer: str, names: Names) -> None:
        try:
            self._note(always_text(text, names).names, pointer)
        except TemplateInvalid as error:
            self.findings.add_within(pointer, text, error.problems)

    def value(self, value: Any, pointer: str, names: Names) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                self.value(inner, join(pointer, key), names)
        elif isinstance(value, list):
            for at, inner in enumerate(value):
                self.value(inner, join(pointer, at), names)
        elif isinstance(value, str):
            self._value_text(value, pointer, names)

    def _value_text(self, text: str, pointer: str, names: Names) -> None:
        if _BARE.fullmatch(text.strip()):
            advice = f"this is the text '{text}', not the value it names: write ${{{{ {text.strip()} }}}} (or ${{{{ '{text.strip()}' }}}} for the text)"
            self.findings.add_within(pointer, text, [Problem("", advice, 1, 1)])
            return
        try:
            self._note(compile_text(text, names).names, pointer)
        except TemplateInvalid as error:
            self.findings.add_within(pointer, text, error.problems)

    def _note(self, names: frozenset[str], pointer: str) -> None:
        for name in sorted(names):
            if name.startswith("steps."):
                self._of.setdefault(name.split(".")[1], pointer)
            if name.startswith("steps.") and name.endswith(".messages"):
                self._check_talk(name.split(".")[1], pointer)

    def _check_talk(self, id_: str, pointer: str) -> None:
        """Only one agent that works once has messages."""
        step = self.steps.get(id_)
        if step is not None and (step.agent is None or step.map is not None):
            why = "it is no agent step" if step.agent is None else "each item of its map has a talk of its own"
            self.findings.add(pointer, f"step '{id_}' has no messages: {why}")


def _word(type_: str) -> str:
    return _WORDS.get(type_.partition("<")[0], type_.lower())


def _remedy(type_: str) -> str:
    return {"BYTES": "; use base64.encode(…)", "optional_type": "; add .orValue(…)"}.get(type_.partition("<")[0], "")
