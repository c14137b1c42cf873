"""The twelve agent scenarios, in the order in which docs/agents.md names them."""

from tests.scenarios.answers import cache, fallback, history, mcp, structured_output_with_repair, tool_use
from tests.scenarios.interrupted import approval_per_tool, budget_stop_and_ask, cancel_in_the_middle, crash_in_the_middle, rate_limited_map, streaming
from tests.scenarios.stage import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    tool_use,
    structured_output_with_repair,
    mcp,
    fallback,
    budget_stop_and_ask,
    rate_limited_map,
    approval_per_tool,
    streaming,
    cache,
    history,
    crash_in_the_middle,
    cancel_in_the_middle,
)
