"""What waits for the writer because of money: the wish to hold something back for a call, and to give it back."""

from runtime.money.purse import Answer, Wish
from runtime.store.operations import Operation


class Reserve(Operation[Answer]):
    """`Money.reserve`."""

    def __init__(self, wish: Wish, *, now: int, expires_at: int) -> None:
        super().__init__(200)
        self.wish, self.now, self.expires_at = wish, now, expires_at


class Release(Operation[None]):
    """`Money.release`."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(200)
        self.wish = wish
