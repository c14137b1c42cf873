"""`agentic validate`, `agentic schema` and `agentic workflows …`."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from actors.cli.exits import CommandError, Exit
from actors.cli.output import Json, Limit, console, fields, line, print_json, table, when

workflows = typer.Typer(no_args_is_help=True, help="List, show, publish and delete workflows.")
Name = Annotated[str, typer.Argument(help="The workflow's name.")]


def validate(file: Annotated[str, typer.Argument(help="A definition in YAML or JSON; - is stdin.")], *, as_json: Json = False) -> None:
    """Check a definition without a server and report every problem as file:line:column: message."""
    from actors.cli.inputs import read_text
    from runtime.definition.validation import parse
    from runtime.errors import DefinitionInvalid

    source = read_text(Path(file))
    try:
        loaded = parse(source)
    except DefinitionInvalid as error:
        raise typer.Exit(_report(file, error, as_json=as_json)) from None
    if as_json:
        print_json({"valid": True, "workflow": loaded.definition.name, "version": loaded.hash, "errors": []})
    else:
        line(f"{file}: {loaded.definition.name} is valid ({len(loaded.definition.steps)} steps, version {loaded.hash[:12]})", "green")


def _report(file: str, error: Exception, *, as_json: bool) -> Exit:
    from runtime.errors import DefinitionInvalid

    assert isinstance(error, DefinitionInvalid)  # noqa: S101 -- narrows the type; the import above is lazy on purpose
    entries = [{"pointer": p.pointer, "detail": p.detail, "line": p.line, "column": p.column} for p in error.problems]
    if as_json:
        print_json({"valid": False, "errors": entries})
        return Exit.USAGE
    screen = console(stderr=True)
    for problem in error.problems:
        place = f"{file}:{problem.line}:{problem.column}" if problem.line else file
        pointer = f" ({problem.pointer})" if problem.pointer else ""
        screen.print(f"{place}: {problem.detail}{pointer}", markup=False)
    if not error.problems:
        screen.print(f"{file}: {error}", markup=False)
    return Exit.USAGE


def schema() -> None:
    """Print the JSON Schema of definitions, for editors."""
    from runtime.definition.schema import json_schema

    print_json(json_schema())


@workflows.command("list")
def list_workflows(limit: Limit = 100, *, as_json: Json = False) -> None:
    """The current version of every workflow."""
    from actors.cli.client import api

    with api() as client:
        entries = client.pages("/v1/workflows", limit)
    if as_json:
        print_json(entries)
        return
    rows = [(entry["name"], entry["number"], entry["version"][:12], when(entry["created_at"]), entry.get("description", "")[:60]) for entry in entries]
    table(("name", "number", "version", "published", "description"), rows, empty="no workflows yet; publish one with `agentic workflows publish FILE`")


@workflows.command("show")
def show_workflow(name: Name, *, as_json: Json = False) -> None:
    """One workflow: its steps, inputs and versions."""
    from actors.cli.client import api

    with api() as client:
        entry = client.call("GET", f"/v1/workflows/{quote(name, safe='')}")
    if as_json:
        print_json(entry)
        return
    document = entry["definition"]
    fields(
        (
            ("name", entry["name"]),
            ("number", entry["number"]),
            ("version", entry["version"]),
            ("published", when(entry["created_at"])),
            ("description", document.get("description")),
        )
    )
    kinds = ("agent", "http", "python", "code", "set", "switch", "workflow", "approval", "wait", "signal")
    steps = [*document["steps"].items(), *(document.get("finally") or {}).items()]
    rows = [
        (step, next((kind for kind in kinds if kind in body), ""), ", ".join(body.get("needs") or ()), body.get("description", "")[:60]) for step, body in steps
    ]
    table(("step", "kind", "needs", "description"), rows, empty="no steps")
    inputs = [(key, body.get("type", "any"), "no" if "default" in body else "yes") for key, body in (document.get("inputs") or {}).items()]
    table(("input", "type", "required"), inputs, empty="no inputs")


@workflows.command()
def publish(file: Annotated[str, typer.Argument(help="A definition in YAML or JSON; - is stdin.")], *, as_json: Json = False) -> None:
    """Make this definition the current version of its workflow."""
    from actors.cli.client import api
    from actors.cli.inputs import read_text
    from runtime.definition.validation import parse

    source = read_text(Path(file))
    name = parse(source).definition.name
    with api() as client:
        entry = client.call("PUT", f"/v1/workflows/{name}", content=source.encode(), headers={"Content-Type": "application/yaml"})
    if as_json:
        print_json(entry)
    else:
        line(f"{entry['name']} number {entry['number']} (version {entry['version'][:12]}) is current", "green")


@workflows.command()
def delete(name: Name, *, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Hide a workflow from lists and new runs. Its runs and their versions stay."""
    from actors.cli.client import api

    if not yes and not typer.confirm(f"Delete the workflow {name}?"):
        raise CommandError("nothing was deleted", Exit.CANCELED)
    with api() as client:
        client.call("DELETE", f"/v1/workflows/{quote(name, safe='')}")
    line(f"{name} is deleted")
