"""A log that cannot be written loses lines and nothing else."""

import io

import structlog

from runtime.logs import LossySink


class Full(io.StringIO):
    """A file on a disk that is full, until it is not."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)

    def flush(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device")


def test_a_full_disk_stops_nobody():
    file = Full()
    sink = LossySink(file)
    logger = structlog.PrintLogger(sink)
    logger.msg("lost")
    assert sink.lost > 0
    file.full = False
    logger.msg("kept")
    assert file.getvalue() == "kept\n"
