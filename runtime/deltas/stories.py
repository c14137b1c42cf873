"""What the calls in flight have said so far, for those who begin to listen in the middle."""

from runtime.deltas.delta import Delta, Place

MAX_CHARACTERS = 32 * 1024
"""Kept of one call. Whoever comes later begins at the present offset."""
MAX_ALL = 4 * 2**20
"""Kept of all calls together, in characters; the calls that would need more are not kept."""


class _Story:
    __slots__ = ("end", "first", "size", "texts")

    def __init__(self, first: Delta) -> None:
        self.first = first
        self.texts: list[str] = []
        self.size = 0
        self.end = first.offset


class Stories:
    """One text for each place, that of its last call, until the call has ended."""

    def __init__(self, characters: int = MAX_CHARACTERS, everything: int = MAX_ALL) -> None:
        self._most, self._everything = characters, everything
        self._runs: dict[str, dict[Place, _Story]] = {}
        self._size = 0

    def add(self, delta: Delta) -> None:
        """Take a delta in; marks end the text they are about."""
        stories = self._runs.setdefault(delta.run_id, {})
        story = stories.get(delta.place)
        if story is None or not delta.continues((story.first.attempt, story.first.call), story.end):
            self._drop(stories.pop(delta.place, None))
            if not delta.says or delta.offset:
                self._tidy(delta.run_id)
                return  # of a text that has begun before, only the end is here
            story = stories[delta.place] = _Story(delta)
        room = min(self._most - story.size, self._everything - self._size)
        if len(delta.text) > room:
            self._drop(stories.pop(delta.place))
            self._tidy(delta.run_id)
            return
        story.texts.append(delta.text)
        story.end += len(delta.text)
        story.size += len(delta.text)
        self._size += len(delta.text)

    def of(self, run_id: str) -> list[Delta]:
        """The text so far of each call of this run, as one delta each."""
        return [
            Delta(run_id, story.first.step, story.first.index, story.first.attempt, story.first.call, 0, "".join(story.texts), json=story.first.json)
            for story in self._runs.get(run_id, {}).values()
        ]

    def forget(self, run_id: str) -> None:
        """Nobody will tell any more how the calls of this run go on."""
        for story in self._runs.pop(run_id, {}).values():
            self._drop(story)

    def _drop(self, story: _Story | None) -> None:
        self._size -= 0 if story is None else story.size

    def _tidy(self, run_id: str) -> None:
        if not self._runs.get(run_id):
            self._runs.pop(run_id, None)
