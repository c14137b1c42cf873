"""What a request that starts a run has to do with the run's trace: the client's trace goes on in it, and the request is a span of it."""

from dataclasses import dataclass, field

from starlette.requests import Request

from runtime.api.headers import traceparent
from runtime.api.services import services
from runtime.tracing import names
from runtime.tracing.ids import Place, new_trace, place
from runtime.tracing.spans import Span, SpanKind, Tracer, now


@dataclass(slots=True)
class Incoming:
    """A request on its way. `traceparent` is what the run begins with; None lets it begin a trace of its own."""

    request: Request
    route: str
    tracer: Tracer | None = None
    above: Place | None = None
    own: Place | None = None
    begun: int = field(default_factory=now)

    @property
    def traceparent(self) -> str | None:
        found = self.own or self.above
        return None if found is None else str(found)

    def ended(self, status: int) -> None:
        """The request has led to a run and is answered like this. Others are no part of any run's trace."""
        if self.tracer is None or self.own is None:
            return
        attributes = {names.HTTP_METHOD: self.request.method, names.HTTP_ROUTE: self.route, names.HTTP_STATUS: status}
        parent = None if self.above is None else self.above.span_id
        self.tracer.add(Span(f"{self.request.method} {self.route}", self.own, parent, self.begun, now(), attributes, kind=SpanKind.SERVER))


def incoming(request: Request, route: str) -> Incoming:
    """The place of this request in the trace its client brings along, if it brings one. `route`: the template of its path."""
    tracer, above = services(request).tracer, place(traceparent(request.headers.get("traceparent")))
    own = None if tracer is None else new_trace() if above is None else above.below()
    return Incoming(request, route, tracer, above, own)
