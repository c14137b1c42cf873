"""Walking the folder of the local store, in order, a page at a time."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from runtime.artifacts.aside import DIGEST, SetAside, Stored, parse_aside

_SHELF = re.compile(r"[0-9a-f]{2}")


def names(root: Path, after: str) -> Iterator[str]:
    """File names two shelves below `root` (`ab/cd/<name>`) that come after `after`, in order. What vanishes meanwhile is left out."""
    for upper in _shelves(root):
        if upper < after[:2]:
            continue
        for lower in _shelves(root / upper):
            if upper + lower >= after[:4]:
                yield from (name for name in sorted(_listed(root / upper / lower)) if name > after)


def _shelves(folder: Path) -> list[str]:
    return sorted(name for name in _listed(folder) if _SHELF.fullmatch(name))


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def stored(root: Path, after: str, limit: int) -> list[Stored]:
    """Whole content only: damaged files were put aside under other names."""
    found: list[Stored] = []
    for name in names(root, after):
        if not DIGEST.fullmatch(name):
            continue
        try:
            status = (root / name[:2] / name[2:4] / name).stat()
        except FileNotFoundError:
            continue  # set aside by another process at this moment
        found.append(Stored(name, status.st_size, status.st_mtime_ns // 1_000_000))
        if len(found) >= limit:
            break
    return found


def set_aside(root: Path, after: str, limit: int) -> list[SetAside]:
    """What lies below `root`, the place for what is set aside."""
    found: list[SetAside] = []
    for name in names(root, after):
        item = parse_aside(name)
        if item is not None:
            found.append(item)
        if len(found) >= limit:
            break
    return found


def copies(root: Path, digest: str) -> list[Path]:
    """The files that hold this content among what is set aside."""
    folder = root / digest[:2] / digest[2:4]
    return [folder / name for name in _listed(folder) if name.startswith(f"{digest}.")]
