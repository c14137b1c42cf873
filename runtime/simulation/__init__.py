"""Runs without the world outside: virtual time, scripts, cassettes, and tests of workflows built on them."""
