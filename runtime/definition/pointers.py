"""JSON pointers (RFC 6901)."""


def escape(key: str) -> str:
    """One step of a pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def join(pointer: str, *steps: str | int) -> str:
    """`pointer` followed by `steps`, which are keys and indexes as they are in the document."""
    return pointer + "".join(f"/{escape(str(step))}" for step in steps)


def split(pointer: str) -> list[str]:
    """The keys and indexes of a pointer."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
