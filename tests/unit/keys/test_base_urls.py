"""Where a tenant may send a key: judged on what is dialled, never on a spelling, and encrypted unless the operator lists the host."""

import ipaddress
from collections.abc import Sequence

import httpcore2
import pytest

from runtime.errors import StepFailed
from runtime.keys.base_urls import BaseUrls
from runtime.steps.addresses import Address

LISTED = ["models.internal", "gpu:8000", "10.1.0.0/16", "[fd00::7]:11434"]


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://eu.gateway.example",
        "https://8.8.8.8/v1",
        "https://[2606:4700:4700::1111]/v1",
        "http://models.internal/v1",
        "http://MODELS.internal.:9000/v1",
        "http://gpu:8000/v1",
        "http://10.1.2.3:8000/v1",
        "https://10.1.2.3:8443/v1",
        "http://[fd00::7]:11434/v1",
    ],
)
def test_what_may_be_stored(url: str) -> None:
    assert BaseUrls(LISTED).problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "//host/v1",
        "ftp://host/",
        "file:///etc/passwd",
        "https://",
        "https://user:pass@host/",
        "https://host@evil.example/v1?x=1",
        "https://host/v1?key=1",
        "https://host/v1?",
        "https://host/v1#x",
        "https://host:0/",
        "https://host:99999/",
        "https://[::1/",
        "https://h\u00f6st.example/",
        "https://host/ v1",
        "https://host/\tv1",
        "https://host/" + "x" * 500,
        # Not encrypted, and not listed.
        "http://api.openai.com/v1",
        "http://8.8.8.8/v1",
        "http://gpu:8001/v1",
        "http://gpu.evil.example:8000/v1",
        "http://models.internal.evil.example/",
        # Not public.
        "https://127.0.0.1/",
        "https://169.254.169.254/latest",
        "https://10.2.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[fd00::8]/",
        "https://8.8.8.8:8443/",
    ],
)
def test_what_may_not(url: str) -> None:
    assert BaseUrls(LISTED).problem(url)


def resolving(*answers: str) -> BaseUrls:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        if not answers:
            raise httpcore2.ConnectError("no such name")
        return [ipaddress.ip_address(answer) for answer in answers]

    return BaseUrls(LISTED, resolve)


@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["169.254.169.254"], ["8.8.8.8", "10.9.9.9"], ["::1"], ["64:ff9b::7f00:1"]], ids=["self", "metadata", "mixed", "v6", "nat64"]
)
async def test_a_name_that_leads_inside_is_refused_when_it_is_used(answers: list[str]) -> None:
    urls = resolving(*answers)
    for host in ("innocent.example", "2130706433", "0x7f.1"):
        assert urls.problem(f"https://{host}/v1") is None
        with pytest.raises(StepFailed) as refused:
            await urls.check(f"https://{host}/v1")
        assert (refused.value.error_code, refused.value.retryable) == ("outbound_refused", False)
        assert not any(answer in str(refused.value) for answer in answers)


async def test_what_leads_outside_or_is_listed_is_used() -> None:
    await resolving("8.8.8.8").check("https://innocent.example/v1")
    await resolving("192.168.0.9").check("http://models.internal/v1")


async def test_an_address_is_checked_anew_when_it_is_used() -> None:
    with pytest.raises(StepFailed, match="https://") as refused:
        await BaseUrls([]).check("http://models.internal/v1")
    assert refused.value.error_code == "outbound_refused"


async def test_a_name_nobody_knows_may_be_known_later() -> None:
    with pytest.raises(StepFailed) as failed:
        await resolving().check("https://innocent.example/v1")
    assert (failed.value.error_code, failed.value.retryable) == ("provider_unavailable", True)
