"""`agentic secrets …`: what is stored encrypted, and the SECRET_KEY it is under."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from actors.cli.connection import load_settings
from actors.cli.exits import Exit
from actors.cli.output import line

if TYPE_CHECKING:
    from collections import Counter

    from runtime.secrets import SecretBox
    from runtime.store.open import Store
    from runtime.store.sealed import Shut

secrets = typer.Typer(no_args_is_help=True, help="Stored secrets: check, rotate, discard.")


@secrets.command()
def rotate() -> None:
    """Put all stored secrets under the first key of SECRET_KEY, so that the others may go. Safe to run again."""
    counts = asyncio.run(_rotated())
    line(f"{counts['changed']} secrets rewrapped, {counts['right']} were right already")
    if counts["unreadable"]:
        line(f"{counts['unreadable']} cannot be read with these keys and were left as they are", "red")
        raise typer.Exit(Exit.FAILED)


@secrets.command()
def check() -> None:
    """Say which stored secrets the present SECRET_KEY does not open. Changes nothing."""
    found = asyncio.run(_shut(delete=False))
    for each in found:
        line(f"{each.sealed.title}: {each.reason}", "red")
    line(f"{len(found)} secrets cannot be opened" if found else "every stored secret can be opened")
    raise typer.Exit(Exit.FAILED if found else Exit.OK)


@secrets.command()
def discard(*, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete the endpoints, hooks and provider keys whose secrets nobody can open any more: for a SECRET_KEY that is lost for good."""
    found = asyncio.run(_shut(delete=False))
    for each in found:
        line(f"{each.sealed.title}: {each.reason}")
    if not found:
        line("every stored secret can be opened; nothing is deleted")
        return
    if not yes and not typer.confirm(f"Delete these {len(found)}?"):
        raise typer.Exit(Exit.CANCELED)
    line(f"{len(asyncio.run(_shut(delete=True)))} deleted")


async def _rotated() -> "Counter[str]":
    from runtime.store.sealed import rewrap

    async with _opened() as (store, box):
        return await rewrap(store, box)


async def _shut(*, delete: bool) -> "list[Shut]":
    from runtime.clock import SystemClock
    from runtime.store.sealed import discard, shut

    async with _opened() as (store, box):
        return await (discard if delete else shut)(store, box, SystemClock().now())


@asynccontextmanager
async def _opened() -> "AsyncIterator[tuple[Store, SecretBox]]":
    from runtime.secrets import open_box
    from runtime.store.open import open_store

    settings = load_settings()
    store = await open_store(settings.database)
    try:
        yield store, open_box(settings)
    finally:
        await store.close()
