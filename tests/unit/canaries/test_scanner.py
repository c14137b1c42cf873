"""The scanner finds what it is meant to find: a scanner that finds nothing proves nothing."""

import base64
import gzip
import html
import json
import os
import sqlite3
import subprocess
import sys
from urllib.parse import quote, quote_plus

import pytest

from tests.canaries import Canaries

WRITTEN = {
    "plain": lambda secret: secret.encode(),
    "reversed": lambda secret: secret.encode()[::-1],
    "hex": lambda secret: secret.encode().hex().encode(),
    "upper hex": lambda secret: secret.encode().hex().upper().encode(),
    "url": lambda secret: quote(secret, safe="").encode(),
    "form": lambda secret: quote_plus(secret).encode(),
    "html": lambda secret: html.escape(secret).encode(),
    "json": lambda secret: json.dumps({"a": secret}).encode(),
    "json in json": lambda secret: json.dumps(json.dumps({"a": secret})).encode(),
    "slashes": lambda secret: json.dumps(secret).replace("/", "\\/").encode(),
    "exception": lambda secret: repr(ValueError(secret)).encode(),
    "base64": lambda secret: base64.b64encode(secret.encode()),
    "base64 of more": lambda secret: base64.b64encode(b"user:" + secret.encode() + b"!!"),
    "base64url": lambda secret: base64.urlsafe_b64encode(b"ab" + secret.encode()),
    "cut": lambda secret: secret[:30].encode(),
    "end": lambda secret: b"..." + secret[18:].encode(),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_form_is_found(name, tmp_path):
    canaries = Canaries()
    secret = canaries.new("it")
    data = b"before " + WRITTEN[name](secret) + b" after"
    assert {leak.secret for leak in canaries.in_bytes(data, "here")} == {"it"}
    (tmp_path / "file").write_bytes(gzip.compress(data))
    assert {leak.secret for leak in canaries.in_folder(tmp_path)} == {"it"}


def test_what_is_no_secret_is_not_found(tmp_path):
    canaries = Canaries()
    secret = canaries.new("it")
    for harmless in (b"", secret[-4:].encode(), secret[:8].encode(), os.urandom(10_000), Canaries().new("another").encode()):
        assert canaries.in_bytes(harmless, "here") == []
    (tmp_path / "allowed").write_text(secret)
    assert canaries.in_folder(tmp_path, but=[tmp_path / "allowed"]) == []


def test_processes_and_names_are_searched(tmp_path):
    canaries = Canaries()
    secret = canaries.new("it", awkward=False)
    (tmp_path / f"x-{secret}").mkdir()
    assert next(leak.secret for leak in canaries.in_folder(tmp_path)) == "it"
    for arguments, env in (([secret], {}), ([], {"SOME_KEY": secret})):
        with subprocess.Popen([sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", *arguments], stdin=-1, stdout=-1, env=env) as process:
            process.stdout.readline()
            assert {leak.secret for leak in canaries.in_process(process.pid)} == {"it"}
            process.stdin.close()


async def test_rows_are_searched_and_what_is_left_of_those_that_were_deleted(tmp_path):
    canaries = Canaries()
    secret = canaries.new("it")
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("CREATE TABLE t (x, y BLOB)")
    connection.execute("INSERT INTO t VALUES (?, ?)", ("fine", secret.encode()))
    connection.commit()
    assert "table t" in {leak.place for leak in await canaries.in_database(f"sqlite:///{tmp_path / 'a.db'}")}
    connection.execute("DELETE FROM t")
    connection.commit()
    connection.close()
    assert {leak.place for leak in await canaries.in_database(f"sqlite:///{tmp_path / 'a.db'}")} == {str(tmp_path / "a.db")}
