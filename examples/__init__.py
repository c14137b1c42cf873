"""Workflows to read, run and change. Not part of the installed package: run them from a checkout."""
