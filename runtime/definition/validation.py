"""From what an author wrote to a definition that is known to be right, or to the list of everything that is wrong with it."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from runtime.definition.checks_expressions import check_expressions
from runtime.definition.checks_graph import check_graph
from runtime.definition.checks_programs import check_programs
from runtime.definition.checks_steps import check_concurrency, check_defaults, check_inputs_declared, check_steps
from runtime.definition.findings import Findings
from runtime.definition.jsonvalue import check_json
from runtime.definition.marks import Marks
from runtime.definition.model import Definition
from runtime.definition.plan import Plan, plan_of
from runtime.definition.structure import read_structure
from runtime.definition.yaml import read
from runtime.errors import DefinitionInvalid


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid definition."""

    definition: Definition
    document: dict[str, Any]
    """Canonical JSON: the same from YAML, JSON and the builder. What is stored."""
    hash: str
    """sha256 (hex) of the canonical JSON: the version."""
    plan: Plan


def parse(source: str | bytes | dict[str, Any]) -> Loaded:
    """Read and check a definition: YAML or JSON text, or its JSON value.

    Raises DefinitionInvalid with all problems, in the order of the document; with line and column when `source` is text.
    Raises Overloaded when it has programs and no worker can be started to read them.
    """
    document, marks = (source, Marks()) if isinstance(source, dict) else read(source)
    findings = Findings(marks)
    for problem in check_json(document) if isinstance(source, dict) else ():
        findings.add(problem.pointer, problem.detail)
    findings.raise_if_any()
    draft, problems, keys = read_structure(document)
    for problem in problems:
        findings.add(problem.pointer, problem.detail, at_key=problem.pointer in keys)
    check_inputs_declared(draft, findings)
    check_defaults(draft, findings)
    check_concurrency(draft, findings)
    check_steps(draft, findings)
    check_programs(draft, findings)
    check_graph(draft, check_expressions(draft, findings), findings)
    findings.raise_if_any()
    if draft.definition is None:
        raise DefinitionInvalid("the definition is not valid")
    canonical = draft.definition.model_dump(mode="json", by_alias=True, exclude_unset=True)
    digest = content_hash(canonical)
    return Loaded(draft.definition, canonical, digest, plan_of(draft.definition, digest))


def content_hash(document: dict[str, Any]) -> str:
    """sha256 (hex) of a canonical document. The order of keys does not matter."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
