"""Whom a budget is for."""

from enum import StrEnum

from runtime.money.purse import Payer

ALL = "-"
"""The name of the budget of a tenant as a whole."""


class Scope(StrEnum):
    """What a budget is of; its name is the root run's id, the workflow's name, the user, or `-`."""

    RUN = "run"
    WORKFLOW = "workflow"
    USER = "user"
    TENANT = "tenant"


def named(payer: Payer) -> tuple[tuple[str, str], ...]:
    """The (scope, name) of all budgets besides the run's that this one's calls count into."""
    return ((Scope.TENANT.value, ALL), (Scope.USER.value, payer.user), (Scope.WORKFLOW.value, payer.workflow))
