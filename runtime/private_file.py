"""Files that only their owner may read: an API key, a secret key. Complete from the moment their name exists."""

import os
import secrets
from pathlib import Path


def write_private(path: Path, text: str, *, replace: bool) -> bool:
    """Put `text` and a newline there with mode 0600. Without `replace`, False when the file exists: another process was first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    try:
        if replace:
            draft.replace(path)
        else:
            path.hardlink_to(draft)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True
