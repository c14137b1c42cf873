"""`agentic test`: run the tests of workflows, without a server, without a network, in virtual time."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli.exits import CommandError, Exit
from actors.cli.output import Json, line, print_json, seconds

if TYPE_CHECKING:
    from runtime.settings import Settings
    from runtime.simulation.testing.runner import Result


def run_tests(
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATHS]", help="Test files, or folders with *.test.yaml; this one when absent.")] = None,
    only: Annotated[str, typer.Option("--only", "-k", metavar="TEXT", help="Only tests with this text in their name.")] = "",
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write the results as JUnit XML.")] = None,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what steps log, stacks of functions that raised included.")] = False,
    as_json: Json = False,
) -> None:
    """Run tests of workflows. The exit code is 0 when all pass, 1 when one fails, 2 when a file is not valid, 3 when there is none."""
    from actors.cli.connection import load_settings
    from runtime.simulation.testing.files import discover

    files = discover([Path(path) for path in paths or ["."]])
    if not files:
        raise CommandError("there are no tests here: files are called *.test.yaml", Exit.NOT_FOUND)
    settings = load_settings()
    _set_up_logs(settings, verbose=verbose)
    results, broken = asyncio.run(_run(files, only, settings, quiet=as_json))
    if junit is not None:
        from runtime.simulation.testing.junit import write_junit

        write_junit(junit, results, broken)
    if as_json:
        print_json({"tests": [_told(result) for result in results], "errors": [problem for lines in broken.values() for problem in lines]})
    else:
        _conclude(results, len(broken))
    raise typer.Exit(Exit.USAGE if broken else Exit.OK if all(result.passed for result in results) else Exit.FAILED)


def _set_up_logs(settings: "Settings", *, verbose: bool) -> None:
    """Logs go to standard error, so that they do not get in between results; secrets go nowhere."""
    import structlog

    from runtime.logs import know_secrets

    know_secrets(settings)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info, structlog.dev.ConsoleRenderer(colors=False), _redacted],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO if verbose else logging.ERROR),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _redacted(_logger: Any, _method: str, text: Any) -> str:
    from runtime.redaction import redact

    return redact(text)


async def _run(files: Sequence[Path], only: str, settings: "Settings", *, quiet: bool) -> "tuple[list[Result], dict[Path, list[str]]]":
    from runtime.errors import AgenticError
    from runtime.simulation.testing.files import load, problems
    from runtime.simulation.testing.runner import run_case

    results: list[Result] = []
    broken: dict[Path, list[str]] = {}
    for path in files:
        try:
            file = load(path)
        except AgenticError as error:
            broken[path] = problems(path, error)
            for problem in () if quiet else broken[path]:
                line(problem, "red")
            continue
        for case in file.cases:
            if only in case.name:
                results.append(await run_case(file, case, settings))
                if not quiet:
                    _show(results[-1])
    return results, broken


def _show(result: "Result") -> None:
    mark, style = ("✔", "green") if result.passed else ("✘", "red")
    line(f"{mark} {result.file.path}  {result.case.name}  {seconds(result.seconds * 1000)}", style)
    for told in result.told():
        line(f"  {told}", "red" if told.lstrip().startswith("-") else "green" if told.lstrip().startswith("+") else "")


def _conclude(results: "Sequence[Result]", broken: int) -> None:
    failed = sum(not result.passed for result in results)
    parts = [f"{len(results) - failed} passed", *([f"{failed} failed"] if failed else []), *([f"{broken} files not valid"] if broken else [])]
    line(f"{', '.join(parts)} in {seconds(sum(result.seconds for result in results) * 1000)}", "red" if failed or broken else "green")


def _told(result: "Result") -> dict[str, object]:
    return {
        "file": str(result.file.path),
        "name": result.case.name,
        "passed": result.passed,
        "seconds": round(result.seconds, 3),
        "failures": list(result.told()),
        "steps": result.steps,
    }
