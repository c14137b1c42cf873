"""Keys, secrets, and the limits of provider keys from the command line."""

from actors.cli.exits import Exit
from actors.cli.limits import _rows


def test_keys_come_and_go(agentic, monkeypatch):
    made = agentic("keys", "create", "for a test", "--scope", "read", "--days", "1", "--json").data
    assert made["key_id"] in agentic("keys", "list").output
    monkeypatch.setenv("AGENTIC_API_KEY", made["key"])
    agentic("runs", "list")
    agentic("workflows", "publish", "note.yaml", expect=Exit.REFUSED)
    monkeypatch.delenv("AGENTIC_API_KEY")
    agentic("keys", "revoke", made["key_id"])
    monkeypatch.setenv("AGENTIC_API_KEY", "nonsense")
    assert "AGENTIC_API_KEY" in agentic("runs", "list", expect=Exit.REFUSED).stderr


def test_secrets_are_rewrapped_under_the_first_key(agentic):
    agentic("endpoints", "create", "https://receiver.example/rewrap")
    for words in (("db", "rewrap"), ("secrets", "rotate")):
        assert "0 secrets rewrapped" in agentic(*words).output


def test_secrets_that_stay_shut_are_named_and_go_when_told(agentic, monkeypatch):
    made = agentic("endpoints", "create", "https://receiver.example/lost", "--json").data
    agentic("provider-keys", "set", "google", stdin="a-key-that-is-long-enough")
    assert "every stored secret can be opened" in agentic("secrets", "check").output
    assert "nothing is deleted" in agentic("secrets", "discard").output
    monkeypatch.setenv("SECRET_KEY", "another" * 8)
    found = agentic("secrets", "check", expect=Exit.FAILED).output
    assert f"endpoint {made['endpoint_id']} of tenant default" in found
    assert "provider-key google of tenant default" in found
    assert "left as they are" in agentic("secrets", "rotate", expect=Exit.FAILED).output
    agentic("secrets", "discard", stdin="n\n", expect=Exit.CANCELED)
    assert "deleted" in agentic("secrets", "discard", "--yes").output
    assert "every stored secret can be opened" in agentic("secrets", "check").output
    assert agentic("provider-keys", "list", "--json").data == []


def test_provider_keys_from_their_setting_to_their_end(agentic):
    key = "sk-from-standard-input-4711"
    shown = agentic("provider-keys", "set", "openai", stdin=f"{key}\n").output
    assert "…4711 for https://api.openai.com/v1" in shown
    assert key not in shown
    entry = agentic("provider-keys", "set", "openai", "--base-url", "https://127.0.0.1:9/v1", stdin=key, expect=Exit.USAGE)
    assert "/base_url" in entry.output
    (listed,) = agentic("provider-keys", "list", "--json").data
    assert (listed["provider"], listed["last_four"]) == ("openai", "4711")
    assert "…4711" in agentic("provider-keys", "list").output
    agentic("provider-keys", "set", "openai", stdin="", expect=Exit.USAGE)
    agentic("provider-keys", "set", "openai", key, expect=Exit.USAGE)
    agentic("provider-keys", "set", "openai", "--no-key", "--base-url", "https://elsewhere.example", expect=Exit.USAGE)
    agentic("provider-keys", "delete", "openai")
    assert "no key for https://elsewhere.example" in agentic("provider-keys", "set", "openai", "--no-key", "--base-url", "https://elsewhere.example").output
    agentic("provider-keys", "delete", "openai")
    agentic("provider-keys", "test", "openai", expect=Exit.NOT_FOUND)


def test_a_provider_that_does_not_take_the_key_is_a_failed_check(agentic, monkeypatch):
    from runtime.keys import service
    from runtime.keys.probe import Probed, Verdict

    async def refused(*_):
        return Probed(Verdict.REFUSED, "the provider refuses the key (status 401)", 401, 5)

    agentic("provider-keys", "set", "anthropic", stdin="sk-not-the-right-one-1")
    monkeypatch.setattr(service, "probe", refused)
    assert "refused: the provider refuses the key" in agentic("provider-keys", "test", "anthropic", expect=Exit.FAILED).output
    agentic("provider-keys", "delete", "anthropic")


def test_limits_and_kept_answers(agentic):
    assert "no provider key is in use" in agentic("limits").output
    assert agentic("limits", "--json").data == []
    agentic("provider-keys", "limit", "openai", "--in-flight", "5", expect=Exit.NOT_FOUND)
    agentic("provider-keys", "set", "openai", stdin="sk-canary-2718281828454711")
    assert "requests per minute: 3000, in flight: 5" in agentic("provider-keys", "limit", "openai", "--requests-per-minute", "3000", "--in-flight", "5").output
    assert "no limits" in agentic("provider-keys", "limit", "openai").output
    assert set(agentic("provider-keys", "list", "--json").data[0]["limits"].values()) == {None}
    agentic("provider-keys", "limit", "openai", "--in-flight", "0", expect=Exit.USAGE)
    agentic("provider-keys", "delete", "openai")
    assert "0 answers, 0 bytes" in agentic("cache", "show").output
    assert "0 answers forgotten" in agentic("cache", "clear", "--workflow", "note").output
    assert agentic("cache", "show", "--json").data == {"entries": 0, "bytes": 0}


def test_the_table_of_limits():
    model = {
        "model": "m",
        "requests_per_minute": 500.0,
        "tokens_per_minute": None,
        "careful_requests_per_minute": 120.4,
        "paused_ms": 4000,
        "refusals": 2,
        "waiting": 7,
    }
    entry = {
        "provider": "openai",
        "shared": False,
        "limits": {"requests_per_minute": 3000, "tokens_per_minute": None, "in_flight": 50},
        "in_flight": 3,
        "waiting": 7,
    }
    assert _rows({**entry, "models": [model]}) == [
        ("openai", "all", "3000", "", "3 of 50", "7", "", ""),
        ("openai", "m", "120", "", "", 7, "4 s", 2),
    ]
    (row,) = _rows({**entry, "shared": True, "in_flight": None, "waiting": None, "models": []})
    assert row[0] == "openai (operator's)"
