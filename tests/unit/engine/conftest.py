"""`pytest --hypothesis-profile=long` searches for minutes; without it the same few hundred examples are tried each time."""

from hypothesis import HealthCheck, settings

settings.register_profile("long", max_examples=5_000, stateful_step_count=80, deadline=None, suppress_health_check=list(HealthCheck))
