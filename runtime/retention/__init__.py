"""What is no longer needed goes: old runs, content nobody refers to, keys that have expired."""

from runtime.retention.janitor import Janitor

__all__ = ["Janitor"]
