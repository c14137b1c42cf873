"""What a URL may reach. A trap listens on this machine; whatever touches it is a hole."""

import asyncio
import ipaddress
import itertools
import socket
from contextlib import AsyncExitStack

import httpx2
import pytest

from runtime.errors import StepFailed
from runtime.steps import addresses
from runtime.steps.addresses import AllowList, is_public
from runtime.steps.outbound import Outbound

PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
    *("239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::7f00:1", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe"),
    *("fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "2001:db8::1", "3fff::1", "5f00::1", "2001:2::1", "2001:10::1"),
    *("2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a9fe:a9fe"),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::5efe:808:808"]


@pytest.mark.parametrize("text", PRIVATE)
def test_inside_and_special_addresses_are_not_public(text):
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_addresses_of_the_internet_are_public(text):
    assert is_public(ipaddress.ip_address(text))


HOSTS = [
    *("127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1", "017700000001", "0177.1"),
    *(
        "127.0.0.2",
        "127.127.127.127",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "\uff11\uff12\uff17.0.0.1",
        "ⓛocalhost",
    ),
    *("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    *("[::ffff:0:127.0.0.1]", "[0000:0000:0000:0000:0000:ffff:7f00:0001]", "[::1%25lo]", "[fe80::1%25lo]", "ip6-localhost", "ip6-loopback"),
    *("00000177.0.0.1", "0x0000007f.0x0.0x0.0x1", "127.0.0.1%00", "127.0.0.1%2f", "%31%32%37.0.0.1", "127.00.00.01", "4294967297", "127.0.0.1%20"),
]
AROUND = ["http://{host}:{port}/", "http://{host}:{port}", "HTTP://{host}:{port}/?x=@example.com", "http://{host}:{port}#@example.com/"]
DISGUISES = [
    *("http://example.com@127.0.0.1:{port}/", "http://127.0.0.1:{port}@127.0.0.1:{port}/", "http:127.0.0.1:{port}/", "http:/127.0.0.1:{port}/"),
    *("http:///127.0.0.1:{port}/", "//127.0.0.1:{port}/", "127.0.0.1:{port}/", "http://\\127.0.0.1:{port}/", "http://127.0.0.1\\@example.com:{port}/"),
    *("http://example.com#@127.0.0.1:{port}/", "http://127.0.0.1:{port}\t/", "http://127.0.0.1\n:{port}/", " http://127.0.0.1:{port}/"),
    *("gopher://127.0.0.1:{port}/_GET", "dict://127.0.0.1:{port}/", "ws://127.0.0.1:{port}/", "unix:///var/run/docker.sock", "http+unix://%2fvar%2frun/"),
    *("jar:http://127.0.0.1:{port}!/", "http://0:{port}/", "http://[::]:{port}/", "http://127.0.0.1:{port}:80/", "http://127.0.0.1:0{port}/"),
]


@pytest.fixture
async def trap(monkeypatch):
    """A server on every address of this machine whose port counts as usual, so that only the address can refuse."""
    hits = []

    async def caught(reader, writer):
        hits.append(await reader.read(100))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
        writer.close()

    async with AsyncExitStack() as servers:
        first = await servers.enter_async_context(await asyncio.start_server(caught, "0.0.0.0", 0))
        port = first.sockets[0].getsockname()[1]
        if socket.has_ipv6:
            await servers.enter_async_context(await asyncio.start_server(caught, "::", port))
        monkeypatch.setattr(addresses, "USUAL_PORTS", frozenset({80, 443, port}))
        yield port, hits


async def fetch(outbound, url):
    """How an attempt to fetch `url` ends: the status, or the error."""
    try:
        async with asyncio.timeout(20):
            response = await outbound.handle_async_request(httpx2.Request("GET", url))
    except Exception as error:  # noqa: BLE001 - any refusal will do; the trap is the judge
        return error
    await response.aclose()
    return response.status_code


async def test_no_spelling_reaches_the_trap(trap):
    port, hits = trap
    urls = [form.format(host=host, port=port) for host, form in itertools.product(HOSTS, AROUND[:2])]
    urls += [form.format(host="127.0.0.1", port=port) for form in AROUND + DISGUISES]
    assert len(urls) > 100
    outbound = Outbound(AllowList())
    outcomes = await asyncio.gather(*(fetch(outbound, url) for url in urls))
    await outbound.aclose()
    assert hits == []
    assert all(isinstance(outcome, Exception) for outcome in outcomes)
    refused = [outcome for outcome in outcomes if isinstance(outcome, StepFailed) and outcome.error_code == "outbound_refused"]
    assert len(refused) > 60  # the guard said no, not merely the parser


async def test_trap_works_for_those_who_may(trap):
    port, hits = trap
    for entry in ("127.0.0.1", f"127.0.0.1:{port}", "127.0.0.0/8"):
        outbound = Outbound(AllowList.parse([entry]))
        assert await fetch(outbound, f"http://127.0.0.1:{port}/") == 200
        await outbound.aclose()
    assert len(hits) == 3


async def test_one_bad_address_among_good_ones_is_refused(trap):
    port, hits = trap

    async def mixed(host, port):
        return [ipaddress.ip_address(text) for text in ("93.184.216.34", "::1", "127.0.0.1")]

    outbound = Outbound(AllowList(), resolve=mixed)
    assert (await fetch(outbound, f"http://rebind.test:{port}/")).error_code == "outbound_refused"
    assert hits == []
    await outbound.aclose()


async def test_name_server_that_changes_its_mind_is_asked_once(trap):
    port, hits = trap
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    asked = []

    async def rebinding(host, port):
        asked.append(host)
        return [ipaddress.ip_address(text) for text in answers.pop(0)]

    outbound = Outbound(AllowList.parse(["127.0.0.1/32"]), resolve=rebinding)
    assert await fetch(outbound, f"http://rebind.test:{port}/") == 200
    assert asked == ["rebind.test"]
    assert (await fetch(outbound, f"http://rebind.test:{port}/")).error_code == "outbound_refused"
    assert len(hits) == 1
    await outbound.aclose()


async def test_environment_proxies_are_ignored(trap, monkeypatch):
    port, hits = trap
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    outbound = Outbound(AllowList())
    assert isinstance(await fetch(outbound, "http://10.1.2.3/"), StepFailed)
    assert hits == []
    await outbound.aclose()


@pytest.mark.parametrize(
    ("entries", "host", "port", "address", "allowed"),
    [
        ([], "example.com", 443, "93.184.216.34", True),
        ([], "example.com", 8080, "93.184.216.34", False),
        (["example.com"], "example.com", 8080, "93.184.216.34", True),
        (["example.com:8080"], "Example.com.", 8080, "10.0.0.1", True),
        (["example.com:8080"], "example.com", 8081, "93.184.216.34", False),
        (["example.com"], "evil-example.com", 80, "10.0.0.1", False),
        (["example.com"], "example.com.evil.org", 80, "10.0.0.1", False),
        (["10.0.0.0/8"], "anything", 5000, "10.9.9.9", True),
        (["10.0.0.0/8"], "anything", 80, "11.0.0.1", True),
        (["10.0.0.0/8"], "anything", 80, "172.16.0.1", False),
        (["10.0.0.0/8"], "anything", 80, "::ffff:10.0.0.1", True),
        (["[::1]:8000"], "::1", 8000, "::1", True),
        (["::1"], "::1", 8000, "::1", True),
    ],
)
def test_allow_list(entries, host, port, address, allowed):
    assert AllowList.parse(entries).allows(host, port, ipaddress.ip_address(address)) is allowed


@pytest.mark.parametrize("entry", ["", "http://a", "a:b", "a:0", "a:99999", "*.a", "a b", "10.0.0.0/99"])
def test_allow_list_refuses_what_it_does_not_understand(entry):
    with pytest.raises(ValueError, match="is not a host"):
        AllowList.parse([entry])
