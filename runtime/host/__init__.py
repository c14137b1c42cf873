"""The host: owns runs and turns them. With an executor of Ray actors it is the heart of a WorkflowActor; with a local one it needs no Ray."""

from runtime.host.host import Host

__all__ = ["Host"]
