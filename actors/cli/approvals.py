"""`agentic approvals …`: the questions runs ask people."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from actors.cli.output import Json, Limit, fields, line, print_json, table, when

approvals = typer.Typer(no_args_is_help=True, help="Questions that wait for a person.")
ApprovalId = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id.")]
Form = Annotated[str | None, typer.Option("--form", "-f", help="What the form asks for: JSON, or @path; its defaults when absent.")]
Comment = Annotated[str, typer.Option("--comment", "-c", help="Kept in the journal.")]


@approvals.command("list")
def list_approvals(
    *,
    every: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False,
    run_id: Annotated[str | None, typer.Option("--run", help="Only of this run.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """What waits for a person, newest first."""
    from actors.cli.client import api

    with api() as client:
        entries = client.pages("/v1/approvals", limit, pending="false" if every else "true", run_id=run_id)
    if as_json:
        print_json(entries)
        return
    rows = [
        (e["approval_id"], e["workflow"], e["step"], when(e["requested_at"]), when(e.get("expires_at")), _decided(e), e.get("message", "")[:60])
        for e in entries
    ]
    table(("approval", "workflow", "step", "asked", "expires", "decision", "message"), rows, empty="nothing waits for a person")


def _decided(entry: dict[str, Any]) -> str:
    decision = entry.get("decision")
    return ("approved" if decision.get("approved") else "rejected") if decision else ""


@approvals.command()
def show(approval_id: ApprovalId, *, as_json: Json = False) -> None:
    """One question: what to look at and what to fill in."""
    from actors.cli.client import api

    with api() as client:
        entry = client.call("GET", f"/v1/approvals/{quote(approval_id, safe='')}")
    if as_json:
        print_json(entry)
        return
    fields([(name.replace("_", " "), entry.get(name)) for name in ("approval_id", "run_id", "workflow", "step", "message", "show", "form", "decision")])
    fields((("asked", when(entry["requested_at"])), ("expires", when(entry.get("expires_at")))))


@approvals.command()
def approve(approval_id: ApprovalId, form: Form = None, comment: Comment = "", *, as_json: Json = False) -> None:
    """Say yes."""
    _decide(approval_id, form, comment, approved=True, as_json=as_json)


@approvals.command()
def reject(approval_id: ApprovalId, form: Form = None, comment: Comment = "", *, as_json: Json = False) -> None:
    """Say no."""
    _decide(approval_id, form, comment, approved=False, as_json=as_json)


def _decide(approval_id: str, form: str | None, comment: str, *, approved: bool, as_json: bool) -> None:
    from actors.cli.client import api
    from actors.cli.forms import blank_form
    from actors.cli.runs import read_json

    path = f"/v1/approvals/{quote(approval_id, safe='')}"
    with api() as client:
        given = read_json(form)
        if approved and form is None:
            given = blank_form(client.call("GET", path)["form"])
        body = {"approved": approved, "form": given, "comment": comment}
        answer = client.call("POST", f"{path}:decide", json={name: value for name, value in body.items() if value not in (None, "")})
    if as_json:
        print_json(answer)
    else:
        line(f"{approval_id} is {'approved' if approved else 'rejected'}")
