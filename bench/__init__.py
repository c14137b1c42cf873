"""Measured against the budgets of docs/architecture.md: `python -m bench`."""
