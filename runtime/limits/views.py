"""The limiter's state as people may see it."""

from typing import Any

from runtime.limits.book import Book
from runtime.limits.key import KeyLimiter
from runtime.limits.messages import Key


def shown(book: Book, tenant: str, now: float) -> list[dict[str, Any]]:
    """The keys of this tenant and the operator's, by provider. What all tenants together do with the operator's is nobody's business."""
    mine = [(key, limiter) for key, limiter in book.keys.items() if key.tenant in ("", tenant)]
    return [_key(key, limiter, now) for key, limiter in sorted(mine, key=lambda entry: (entry[0].provider, entry[0].tenant, entry[0].account))]


def _key(key: Key, limiter: KeyLimiter, now: float) -> dict[str, Any]:
    shared = not key.tenant
    return {
        "provider": key.provider,
        "shared": shared,
        "limits": limiter.limits.model_dump(),
        "in_flight": None if shared else len(limiter.out),
        "waiting": None if shared else len(limiter.turns),
        "models": [] if shared else [_model(model, limiter, now) for model in sorted(limiter.models)],
    }


def _model(model: str, limiter: KeyLimiter, now: float) -> dict[str, Any]:
    gate = limiter.gate(model, now)
    learned = gate.learned(now)
    return {
        "model": model,
        "requests_per_minute": learned.requests,
        "tokens_per_minute": learned.tokens,
        "careful_requests_per_minute": learned.adaptive,
        "paused_ms": round(learned.pause * 1000),
        "refusals": gate.refusals,
        "waiting": limiter.turns.count(model),
    }
