"""Agentic Workflows without Ray: definitions, the pure engine, the journal, the host that turns runs, and the HTTP API."""
