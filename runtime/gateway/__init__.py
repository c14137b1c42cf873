"""The application service that the HTTP API, the command line's local mode, the batch driver and the benchmarks share."""

from runtime.gateway.gateway import Gateway as Gateway
from runtime.gateway.runner import Runner as Runner
from runtime.gateway.starts import StartRequest as StartRequest
