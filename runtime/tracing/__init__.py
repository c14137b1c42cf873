"""Traces: which spans there are (spans.py), what they are called (names.py), how they belong together (ids.py) and where they go (export.py)."""
