"""Signatures: the specification's own example, and everything that must not pass for it."""

import base64
import hashlib
import hmac

import pytest

from runtime.signatures import PREFIX, Signed, is_hmac_hex, is_standard, key_of, new_secret

# The example of the Standard Webhooks specification and its libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
NOW = AT * 1000


def test_the_example_of_the_specification() -> None:
    assert Signed(ID, AT, BODY).signature(key_of(SECRET)) == SIGNATURE
    assert is_standard(key_of(SECRET), ID, str(AT), SIGNATURE, BODY, now=NOW)


def test_while_a_secret_changes_either_signature_does() -> None:
    old, new = key_of(SECRET), key_of(new_secret())
    headers = Signed(ID, AT, BODY).headers([new, old])
    assert headers["webhook-signature"].split(" ")[1] == SIGNATURE
    for key in (old, new):
        assert is_standard(key, headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"], BODY, now=NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"message_id": ID + "x"},
        {"message_id": ""},
        {"timestamp": str(AT + 1)},
        {"timestamp": ""},
        {"timestamp": "-1"},
        {"timestamp": "1e9"},
        {"timestamp": f" {AT}"},
        {"timestamp": "९" * 9},
        {"timestamp": "9" * 400},
        {"signatures": ""},
        {"signatures": "v1,"},
        {"signatures": SIGNATURE[3:]},
        {"signatures": SIGNATURE.replace("v1", "v2")},
        {"signatures": SIGNATURE.lower()},
        {"signatures": "v1,é"},
        {"signatures": " ".join(["v1,x"] * 10 + [SIGNATURE])},
        {"body": BODY + b" "},
        {"now": NOW + 301_000},
        {"now": NOW - 301_000},
        {"key": key_of(new_secret())},
    ],
)
def test_anything_else_is_refused(changed) -> None:
    given = {"key": key_of(SECRET), "message_id": ID, "timestamp": str(AT), "signatures": SIGNATURE, "body": BODY, "now": NOW} | changed
    assert not is_standard(given["key"], given["message_id"], given["timestamp"], given["signatures"], given["body"], now=given["now"])


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_five_minutes_either_way_are_in_order(seconds: int) -> None:
    assert is_standard(key_of(SECRET), ID, str(AT), f"v1,wrong {SIGNATURE}", BODY, now=NOW + seconds * 1000)


def test_new_secrets_are_as_the_specification_wants_them() -> None:
    secret = new_secret()
    assert secret.startswith(PREFIX)
    assert len(key_of(secret)) == 32
    assert new_secret() != secret


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + base64.b64encode(b"x" * 23).decode(), "whsec_é"])
def test_what_is_no_secret(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - base64's own message for some of them
        key_of(text)


def test_the_plain_hmac_of_github_and_others() -> None:
    # The example in GitHub's documentation.
    key, body = b"It's a Secret to Everybody", b"Hello, World!"
    right = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert hmac.new(key, body, hashlib.sha256).hexdigest() == right
    assert is_hmac_hex(key, f"sha256={right}", body)
    assert is_hmac_hex(key, right.upper(), body)
    for wrong in ("", "sha256=", right[:-1], f"sha1={right}", "é" * 64, "0" * 64):
        assert not is_hmac_hex(key, wrong, body)
    assert not is_hmac_hex(b"", right, body)
