"""One provider key: who waits for it, who is out with it, and who may go next."""

from runtime.limit_settings import NO_LIMITS, ProviderLimits
from runtime.limits.gate import Gate, Learned
from runtime.limits.messages import Ask, News
from runtime.limits.turns import Id, Turns, Waiting


class KeyLimiter:
    """Arithmetic only: `now` is in seconds of one clock that never jumps."""

    def __init__(self) -> None:
        self.limits: ProviderLimits = NO_LIMITS
        self.out: dict[Id, Ask] = {}
        self.turns = Turns()
        self.models: dict[str, Gate] = {}
        self.used_at = 0.0
        self.own = Gate(0.0)

    def ask(self, holder: str, ask: Ask, now: float) -> None:
        """A request wants to go out."""
        self._use(ask.spot.limits, now)
        if (holder, ask.number) not in self.out:
            self.turns.add(Waiting((holder, ask.number), ask))

    def hold(self, holder: str, ask: Ask, now: float) -> None:
        """A request is out that another limiter before this one has let go."""
        self._use(ask.spot.limits, now)
        self.turns.remove((holder, ask.number))
        self.out[holder, ask.number] = ask

    def withdraw(self, ask: Id) -> None:
        """Nobody wants this any more, whether it waits or has just been let go."""
        self.turns.remove(ask)
        self.out.pop(ask, None)

    def hear(self, holder: str, news: News, now: float) -> None:
        """A request has ended."""
        self._use(news.spot.limits, now)
        gate = self.gate(news.spot.model, now)
        if news.number is not None and self.out.pop((holder, news.number), None) is not None and news.more_tokens:
            self.own.correct(news.more_tokens)
            gate.correct(news.more_tokens)
        if news.seen is not None:
            gate.hear(news.seen, now)
        if news.refused:
            known = [pace.limit for pace in (self.own.requests, gate.requests) if pace is not None]
            gate.refuse(news.pause, sent_at=now - news.age, pace=news.pace, known=min(known, default=None), now=now)
        elif news.pause is not None:
            gate.pause(news.pause, now)
        else:
            gate.answered(now - news.age)

    def serve(self, now: float) -> list[Waiting]:
        """Those that go out now."""
        served: list[Waiting] = []
        while len(self.turns) and self._room and self.own.ready_at(now) <= now:
            ready = {model for model in self.turns.models if self.gate(model, now).ready_at(now) <= now}
            waiting = self.turns.next(ready)
            if waiting is None:
                break
            self.used_at = now
            self.out[waiting.id] = waiting.ask
            self.own.take(waiting.ask.tokens, now)
            self.gate(waiting.ask.spot.model, now).take(waiting.ask.tokens, now)
            served.append(waiting)
        return served

    def next_at(self, now: float) -> float | None:
        """When `serve` may have something, if nothing happens until then; None when only an answer can change that."""
        if not len(self.turns) or not self._room:
            return None
        return max(self.own.ready_at(now), min(self.gate(model, now).ready_at(now) for model in self.turns.models))

    def gate(self, model: str, now: float) -> Gate:
        """What is known about this model."""
        found = self.models.get(model)
        if found is None:
            found = self.models[model] = Gate(now)
        return found

    def limited(self, model: str, now: float) -> bool:
        """Whether anything but its settings limits this model."""
        return self.gate(model, now).learned(now) != Learned()

    @property
    def idle(self) -> bool:
        """Nobody waits, nobody is out."""
        return not len(self.turns) and not self.out

    @property
    def _room(self) -> bool:
        return self.limits.in_flight is None or len(self.out) < self.limits.in_flight

    def _use(self, limits: ProviderLimits, now: float) -> None:
        self.used_at = now
        if limits != self.limits:
            self.limits = limits
            self.own.limit(limits.requests_per_minute, limits.tokens_per_minute, now)
