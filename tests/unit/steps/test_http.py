"""The http step against a real server: what is sent, what comes back, what is refused."""

import asyncio
import datetime
import gzip
import json
import ssl
from email.utils import format_datetime

import pytest

from runtime.ids import idempotency_key
from runtime.steps.context import StepServices
from runtime.steps.http import HttpKind
from runtime.steps.outbound import Outbound
from runtime.steps.response import MAX_RETRY_AFTER, retry_after
from runtime.steps.runner import StepRunner


def http(url, **fields):
    return {"http": {"url": url, **fields}}


async def test_json_answer_is_the_output(run, make_call, web, answer):
    web.answers["/a"] = answer(200, b'{"n": [1, 2.5, null]}', "Content-Type: application/vnd.api+json; charset=utf-8", "X-Two: a", "X-Two: b")
    [result] = await run(make_call(http(f"{web.url}/a?keep=1", query={"q": "a b&c", "n": 3, "flag": True, "tags": ["x", "y"], "none": None})))
    assert result.error is None
    assert result.output["status"] == 200
    assert result.output["body"] == {"n": [1, 2.5, None]}
    assert result.output["headers"]["x-two"] == "a, b"
    assert web.requests[0].target == "/a?keep=1&q=a+b%26c&n=3&flag=true&tags=x&tags=y"
    assert web.requests[0].method == "GET"
    assert "idempotency-key" not in web.requests[0].headers


async def test_effects_carry_a_key_and_the_trace(run, make_call, web, answer):
    web.answers["/orders"] = answer(201, b"")
    call = make_call(http(f"{web.url}/orders", method="POST", body={"n": "${{ item }}"}), items=[5], traceparent="00-abc-def-01")
    [result] = await run(call)
    request = web.requests[0]
    assert result.output == {"status": 201, "headers": {"content-length": "0"}, "body": None}
    assert json.loads(request.body) == {"n": 5}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == idempotency_key("run-1", "work[0]")
    assert request.headers["traceparent"] == "00-abc-def-01"


async def test_text_with_its_own_content_type_is_sent_as_it_is(run, make_call, web, answer):
    web.answers["/t"] = answer()
    await run(make_call(http(f"{web.url}/t", method="PUT", body="<a/>", headers={"Content-Type": "application/xml", "Idempotency-Key": "mine"})))
    assert web.requests[0].body == b"<a/>"
    assert web.requests[0].headers["idempotency-key"] == "mine"
    await run(make_call(http(f"{web.url}/t", method="PUT", body="text"), run_id="run-2"))
    assert web.requests[1].body == b'"text"'


async def test_bodies_by_their_type(run, make_call, web, answer, services):
    web.answers["/text"] = answer(200, "früh".encode("latin-1"), "Content-Type: text/plain; charset=ISO-8859-1")
    web.answers["/odd"] = answer(200, b"abc", "Content-Type: text/plain; charset=unicode_escape")
    web.answers["/bad"] = answer(200, b"{nope", "Content-Type: application/json")
    web.answers["/nan"] = answer(200, b"[NaN]", "Content-Type: application/json")
    web.answers["/zip"] = answer(200, gzip.compress(b'"packed"'), "Content-Type: application/json", "Content-Encoding: gzip")
    web.answers["/cut"] = answer(200, gzip.compress(b'"packed"')[:-9], "Content-Type: application/json", "Content-Encoding: gzip")
    web.answers["/br"] = answer(200, b"xxxx", "Content-Encoding: br")
    web.answers["/png"] = answer(200, b"\x89PNG", "Content-Type: image/png")
    [text], [odd], [bad], [nan], [packed], [cut], [brotli], [png] = [await run(make_call(http(f"{web.url}{path}"), run_id=path)) for path in web.answers]
    assert text.output["body"] == "früh"
    assert odd.output["body"] == "abc"
    assert packed.output["body"] == "packed"
    assert [result.error["code"] for result in (bad, nan, cut, brotli)] == ["response_invalid"] * 4
    assert png.output["body"] == {"name": "work-body", "sha256": png.artifacts[0]["digest"], "size": 4, "media_type": "image/png"}
    assert await services.artifacts.get(png.artifacts[0]["digest"]) == b"\x89PNG"


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (401, False), (404, False), (408, True), (409, False), (429, True), (500, True), (503, True)])
async def test_status_from_400_fails_the_step(run, make_call, web, answer, status, retryable):
    web.answers["/x"] = answer(status, b"because", "Content-Type: text/plain", "Retry-After: 17")
    [result] = await run(make_call(http(f"{web.url}/x")))
    assert result.error["code"] == f"http_{status}"
    assert result.error["retryable"] is retryable
    assert result.error["retry_after"] == 17
    assert result.error["details"] == {"status": status, "body": "because"}
    [expected] = await run(make_call(http(f"{web.url}/x", expect=[status])))
    assert expected.output["status"] == status


async def test_redirects_are_answers(run, make_call, web, answer):
    web.answers["/go"] = answer(302, b"", f"Location: {web.url}/target")
    [result] = await run(make_call(http(f"{web.url}/go")))
    assert (result.output["status"], result.output["headers"]["location"]) == (302, f"{web.url}/target")
    assert len(web.requests) == 1


async def test_no_cookie_of_one_run_reaches_another(run, make_call, web, answer):
    web.answers["/c"] = answer(200, b"", "Set-Cookie: session=1")
    for run_id in ("run-1", "run-2"):
        await run(make_call(http(f"{web.url}/c"), run_id=run_id))
    assert all("cookie" not in request.headers for request in web.requests)


async def test_connections_are_shared(run, make_call, web, answer):
    web.answers["/s"] = answer()
    for number in range(5):
        await run(make_call(http(f"{web.url}/s"), run_id=f"run-{number}"))
    assert (len(web.requests), web.connections) == (5, 1)


async def test_answer_beyond_its_limit_is_refused_while_it_is_read(run, make_call, web, answer):
    web.answers["/big"] = answer(200, b"x" * 300_000)
    bomb = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    web.answers["/bomb"] = answer(200, gzip.decompress(bomb), "Content-Encoding: gzip")
    for path in ("/big", "/bomb"):
        [result] = await run(make_call(http(f"{web.url}{path}", max_response=100_000)))
        assert (result.error["code"], result.error["retryable"]) == ("response_too_large", False)
    [fits] = await run(make_call(http(f"{web.url}/big", max_response=300_000)))
    assert fits.error is None


async def test_timeout_and_cancel_close_the_connection(runner, run, make_call, web):
    [result] = await run(make_call(http(f"{web.url}/hold"), timeout_ms=100))
    assert (result.error["code"], result.error["retryable"]) == ("timeout", True)
    web.held.clear()
    results = runner.execute([make_call(http(f"{web.url}/hold"))])
    first = asyncio.ensure_future(anext(results))
    await web.held.wait()
    await runner.cancel("run-1")
    assert [result.error["code"] for result in await first] == ["canceled"]
    await results.aclose()


async def test_steps_without_a_timeout_have_one_all_the_same(run, make_call, web, monkeypatch):
    monkeypatch.setattr("runtime.steps.http.DEFAULT_SECONDS", 0.1)
    [result] = await run(make_call(http(f"{web.url}/hold")))
    assert (result.error["code"], result.error["retryable"]) == ("timeout", True)


async def test_server_that_breaks_off_is_a_retryable_error(run, make_call, web):
    web.answers["/gone"] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nabc"
    web.answers["/gone"] = lambda request: b"not http at all\r\n\r\n"
    [result] = await run(make_call(http(f"{web.url}/gone")))
    assert (result.error["code"], result.error["retryable"]) == ("http_unreachable", True)


async def test_nobody_listening_is_a_retryable_error(run, make_call):
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    [result] = await run(make_call(http(f"http://127.0.0.1:{port}/")))
    assert (result.error["code"], result.error["retryable"]) == ("http_unreachable", True)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"url": "ftp://127.0.0.1/"}, "url_invalid"),
        ({"url": "file:///etc/passwd"}, "url_invalid"),
        ({"url": "not a url"}, "url_invalid"),
        ({"url": "http://"}, "url_invalid"),
        ({"url": "http://user:secret@127.0.0.1/"}, "url_invalid"),
        ({"url": "http://127.0.0.1:99999/"}, "url_invalid"),
        ({"url": "http://[::1/"}, "url_invalid"),
        ({"headers": {"Host": "internal"}}, "request_invalid"),
        ({"headers": {"transfer-encoding": "chunked"}}, "request_invalid"),
        ({"headers": {"x": "a\r\nX-Injected: 1"}}, "request_invalid"),
        ({"headers": {"x y": "1"}}, "request_invalid"),
        ({"headers": {"x": "snow \u2603"}}, "request_invalid"),
        ({"query": {"q": {"a": 1}}}, "request_invalid"),
    ],
)
async def test_requests_that_cannot_be_meant(run, make_call, web, answer, fields, code):
    web.answers["/"] = answer()
    [result] = await run(make_call(http(**({"url": f"{web.url}/"} | fields))))
    assert (result.error["code"], result.error["retryable"]) == (code, False)
    assert web.requests == []
    assert "secret" not in result.error["message"]


async def test_simulated_runs_stay_off_the_network(run, make_call, web):
    call = make_call(http(f"{web.url}/orders", method="POST", body={"n": 1}), mode="simulated")
    [first] = await run(call)
    [second] = await run(call)
    assert first.output == second.output
    assert first.output["headers"]["x-simulated"] == "true"
    assert first.output["body"] == {"simulated": True, "method": "POST", "url": f"{web.url}/orders", "sent": {"n": 1}}
    assert web.connections == 0


async def test_certificates_are_checked_for_the_name_that_was_asked(services: StepServices, make_call, tmp_path):
    trusting = certificate(tmp_path, "svc.test")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    async def resolve(host, port):
        return [ipaddress_of("127.0.0.1")]

    from runtime.steps.addresses import AllowList

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side) as server:
        port = server.sockets[0].getsockname()[1]
        outbound = Outbound(AllowList.parse(["svc.test", "other.test"]), resolve=resolve, tls=trusting)
        runner = StepRunner(services, {"http": HttpKind(services, outbound)})
        outcomes = {}
        for name in ("svc.test", "other.test"):
            async for [result] in runner.execute([make_call(http(f"https://{name}:{port}/"), run_id=name)]):
                outcomes[name] = result
        await runner.close()
    assert outcomes["svc.test"].output["status"] == 200
    assert outcomes["other.test"].error["code"] == "http_unreachable"


def test_retry_after_in_all_its_forms():
    in_a_minute = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert retry_after("-5") is None
    assert retry_after("12") == 12
    assert retry_after("9" * 50) == MAX_RETRY_AFTER
    assert 55 < retry_after(format_datetime(in_a_minute, usegmt=True)) <= 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def ipaddress_of(text):
    import ipaddress

    return ipaddress.ip_address(text)


def certificate(folder, name):
    """Write cert.pem and key.pem for `name`; return a client context that trusts it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*plain))
    return ssl.create_default_context(cafile=folder / "cert.pem")
