"""The `agentic` command. Modules here import nothing heavy at the top: `agentic --help` must be instant."""

import asyncio
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from actors.cli import (
    approvals,
    artifacts,
    definitions,
    endpoints,
    hooks,
    keys,
    limits,
    maintenance,
    money,
    platform,
    provider_keys,
    recording,
    run,
    runs,
    schedules,
    secrets,
    testing,
    tools,
)
from actors.cli.exits import SUMMARY, CommandError, Exit, exit_for_code


class Commands(TyperGroup):
    """The root group: turns errors into sentences and exit codes, for every command below it."""

    def invoke(self, ctx: Any) -> Any:
        from runtime.errors import AgenticError

        try:
            return super().invoke(ctx)
        except CommandError as error:
            raise _exit(str(error), error.exit_code, error.details) from None
        except AgenticError as error:
            from actors.cli.client import problem_line

            problems = [{"pointer": p.pointer, "detail": p.detail, "line": p.line, "column": p.column} for p in error.problems]
            raise _exit(str(error), exit_for_code(error.code), [problem_line(entry) for entry in problems]) from None
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise _exit("interrupted", Exit.INTERRUPTED, ()) from None


def _exit(message: str, code: Exit, details: Any) -> typer.Exit:
    from actors.cli.output import clean

    sys.stderr.write(f"agentic: {clean(message)}\n")
    for detail in details:
        sys.stderr.write(f"  {clean(detail)}\n")
    return typer.Exit(int(code))


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Agentic Workflows: durable workflows of language-model agents, on Ray.",
    epilog=SUMMARY,
)


def _version(value: bool) -> None:  # noqa: FBT001 -- typer calls an option's callback with its value
    if value:
        from importlib.metadata import version

        typer.echo(version("agentic-workflows"))
        raise typer.Exit


@app.callback()
def main(*, version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False) -> None:
    """Agentic Workflows: durable workflows of language-model agents, on Ray."""


app.command()(platform.up)
app.command()(platform.down)
app.command()(platform.status)
app.command()(run.run)
app.command()(recording.record)
app.command("test")(testing.run_tests)
app.command()(definitions.validate)
app.command()(definitions.schema)
app.add_typer(definitions.workflows, name="workflows")
app.add_typer(runs.runs, name="runs")
app.add_typer(schedules.schedules, name="schedules")
app.add_typer(approvals.approvals, name="approvals")
app.command()(runs.signal)
app.add_typer(artifacts.artifacts, name="artifacts")
app.add_typer(keys.keys, name="keys")
app.add_typer(provider_keys.provider_keys, name="provider-keys")
app.command()(limits.limits)
app.add_typer(limits.cache, name="cache")
app.command()(money.usage)
app.add_typer(money.budgets, name="budgets")
app.add_typer(endpoints.endpoints, name="endpoints")
app.add_typer(hooks.hooks, name="hooks")
app.add_typer(tools.tools, name="tools")
app.add_typer(secrets.secrets, name="secrets")
app.add_typer(maintenance.database, name="db")
app.command()(maintenance.doctor)
