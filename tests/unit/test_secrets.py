"""Secrets at rest: whatever is changed or moved, an envelope opens in its own place and with its own key, or not at all."""

import base64
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from runtime.errors import SecretUnreadable
from runtime.secrets import MAX_SECRET, Place, SecretBox, open_box
from runtime.settings import Settings

OLD, NEW = "old-key-" + "o" * 32, "new-key-" + "n" * 32
PLACE = Place("acme", "endpoint", "row-1")
CANARY = b"whsec_canary-3141592653"


@pytest.mark.parametrize("secret", [b"", b"\0", CANARY, bytes(range(256)) * 256], ids=["empty", "nul", "text", "64 KiB"])
def test_what_is_sealed_opens_again(secret: bytes) -> None:
    box = SecretBox([OLD])
    assert box.open(box.seal(secret, PLACE), PLACE) == secret


def test_an_envelope_is_text_that_tells_nothing() -> None:
    box = SecretBox([OLD])
    one, other = box.seal(CANARY, PLACE), box.seal(CANARY, PLACE)
    assert one != other
    raw = base64.urlsafe_b64decode(one + "=" * (-len(one) % 4))
    assert CANARY not in raw
    assert OLD not in repr(box)
    assert set(one) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        SecretBox([OLD]).seal(b"x" * (MAX_SECRET + 1), PLACE)


def test_every_flipped_bit_is_noticed() -> None:
    box = SecretBox([OLD])
    sealed = box.seal(b"abc", PLACE)
    raw = bytearray(base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)))
    for place in range(len(raw)):
        for bit in range(8):
            raw[place] ^= 1 << bit
            with pytest.raises(SecretUnreadable):
                box.open(base64.urlsafe_b64encode(raw).decode().rstrip("="), PLACE)
            raw[place] ^= 1 << bit


@pytest.mark.parametrize("text", ["", "x", "====", "not base64 at all!", "é", "AQ", "A" * 400])
def test_rubbish_is_unreadable(text: str) -> None:
    with pytest.raises(SecretUnreadable):
        SecretBox([OLD]).open(text, PLACE)


@pytest.mark.parametrize(
    "elsewhere",
    [Place("other", "endpoint", "row-1"), Place("acme", "hook", "row-1"), Place("acme", "endpoint", "row-2"), Place("acme|8:endpoint", "", "row-1")],
)
def test_a_row_cannot_be_swapped(elsewhere: Place) -> None:
    box = SecretBox([OLD])
    with pytest.raises(SecretUnreadable, match="another row"):
        box.open(box.seal(CANARY, PLACE), elsewhere)


def test_parts_of_two_envelopes_do_not_fit_together() -> None:
    box = SecretBox([OLD])
    one, other = (base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in (box.seal(b"a" * 20, PLACE), box.seal(b"b" * 20, PLACE)))
    mixed = one[:69] + other[69:]
    with pytest.raises(SecretUnreadable):
        box.open(base64.urlsafe_b64encode(mixed).decode().rstrip("="), PLACE)


def test_another_key_says_so_and_the_first_of_several_encrypts() -> None:
    sealed = SecretBox([OLD]).seal(CANARY, PLACE)
    with pytest.raises(SecretUnreadable, match="another SECRET_KEY"):
        SecretBox([NEW]).open(sealed, PLACE)
    both = SecretBox([NEW, OLD])
    assert both.open(sealed, PLACE) == CANARY
    assert SecretBox([NEW]).open(both.seal(CANARY, PLACE), PLACE) == CANARY


def test_rewrapping_changes_the_key_and_not_the_secret() -> None:
    both, sealed = SecretBox([NEW, OLD]), SecretBox([OLD]).seal(CANARY, PLACE)
    moved = both.rewrap(sealed, PLACE)
    assert SecretBox([NEW]).open(moved, PLACE) == CANARY
    assert moved[-20:] == sealed[-20:]
    assert both.rewrap(moved, PLACE) is moved
    with pytest.raises(SecretUnreadable):
        both.rewrap(sealed, Place("acme", "endpoint", "row-2"))


def test_a_laptop_gets_a_key_once_and_in_private(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    sealed = open_box(settings).seal(CANARY, PLACE)
    path = tmp_path / "home" / "secret-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_box(settings).open(sealed, PLACE) == CANARY
    assert [each.name for each in path.parent.iterdir()] == ["secret-key"]


def test_a_spoiled_key_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text("short\n")
    with pytest.raises(SecretUnreadable, match="secret-key"):
        open_box(Settings(home=tmp_path))
    assert (tmp_path / "secret-key").read_text() == "short\n"


def test_the_settings_name_one_key_or_several(tmp_path: Path) -> None:
    sealed = open_box(Settings(home=tmp_path, secret_key=OLD)).seal(CANARY, PLACE)
    assert open_box(Settings(home=tmp_path, secret_key=f"{NEW},{OLD}")).open(sealed, PLACE) == CANARY
    assert not (tmp_path / "secret-key").exists()
    for wrong in ("short", f"{NEW},", f"{NEW},short", ","):
        with pytest.raises(ValidationError):
            Settings(home=tmp_path, secret_key=wrong)
