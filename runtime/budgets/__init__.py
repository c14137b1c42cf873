"""Who decides about money where the database is at hand, and the budgets people set."""
