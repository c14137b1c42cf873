"""What a step needs, in Ray's words."""

from typing import Any

from runtime.definition.model import Resources


def ray_options(resources: Resources) -> dict[str, Any]:
    """Options of the Ray task for a step with these resources.

    `max_retries=0`: Ray would repeat a task three times by itself, and after an out-of-memory kill for ever; the engine decides.
    """
    options: dict[str, Any] = {"num_cpus": resources.num_cpus, "max_retries": 0}
    if resources.num_gpus:
        options["num_gpus"] = resources.num_gpus
    if resources.memory:
        options["memory"] = resources.memory
    if resources.labels:
        options["label_selector"] = dict(resources.labels)
    return options
