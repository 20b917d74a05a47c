"""Connections: certificates that are trusted or not, and the environment's proxies."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_endpoint import FakeEndpoint, Hang, as_json, raw, response, status

from pgembed import errors
from pgembed.models.contract import no_check
from pgembed.models.endpoints.endpoint import Endpoint
from pgembed.models.endpoints.exchange import Answer, Line, Trouble

pytestmark = pytest.mark.usefixtures("no_proxies")

BODY = as_json({"model": "m", "input": ["a"]})


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, and its key beside it."""
    place = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(place / "key.pem"), "-out", str(place / "cert.pem")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs openssl to make a certificate")
    return place / "cert.pem"


@pytest.fixture
def secure(certificate: Path) -> Iterator[FakeEndpoint]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with FakeEndpoint(context) as server:
        yield server


def post(endpoint: Endpoint, key: str | None = None, limit: int = 100_000) -> Answer:
    line = Line(endpoint, no_check)
    try:
        return line.post(BODY, key, limit)
    finally:
        line.close()


# TLS --------------------------------------------------------------------------------------------------------------------------


def test_a_certificate_of_nobody_is_not_trusted(secure: FakeEndpoint) -> None:
    with pytest.raises(Trouble, match="certificate that is not trusted") as caught:
        post(Endpoint(secure.url, "m"), "the-key")
    assert caught.value.tries == 0
    assert "ca_file" in str(caught.value.hint)
    assert secure.requests == []


def test_a_certificate_that_was_named_is_trusted(secure: FakeEndpoint, certificate: Path) -> None:
    line = Line(Endpoint(secure.url, "m", ca_file=str(certificate)), no_check)
    for _ in range(2):
        assert line.post(BODY, "the-key", 100_000).status == 200
    line.close()
    assert [request.connection for request in secure.requests] == [1, 1]


def test_a_certificate_of_another_host_is_not_trusted(secure: FakeEndpoint, certificate: Path) -> None:
    with pytest.raises(Trouble, match="not trusted"):
        post(Endpoint(f"https://localhost:{secure.port}/v1", "m", ca_file=str(certificate)))


def test_hanging_in_tls_ends_with_the_timeout(secure: FakeEndpoint, certificate: Path) -> None:
    secure.default = raw(b"HTTP/1.1 200 OK\r\n", Hang())
    with pytest.raises(Trouble, match="no answer within"):
        post(Endpoint(secure.url, "m", ca_file=str(certificate), timeout=0.5))


def test_hanging_in_the_handshake_ends_with_the_timeout(certificate: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Trouble, match="no answer within"):
        post(Endpoint(f"https://127.0.0.1:{silent.getsockname()[1]}", "m", timeout=0.3))


def test_hanging_up_in_the_handshake_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            connection, _ = rude.accept()
            connection.recv(1)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1000):
                pass
            connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(Trouble, match="closed the connection") as caught:
            post(Endpoint(f"https://127.0.0.1:{rude.getsockname()[1]}", "m"))
        thread.join()
    assert caught.value.tries > 0


def test_a_large_request_and_answer_in_tls(secure: FakeEndpoint, certificate: Path) -> None:
    secure.default = raw(response(200, b"y" * 3_000_000))
    line = Line(Endpoint(secure.url, "m", ca_file=str(certificate)), no_check)
    assert line.post(b"x" * 3_000_000, None, 5_000_000).body == b"y" * 3_000_000
    line.close()
    assert len(secure.requests[0].body) == 3_000_000


def test_tls_to_a_server_without_it(fake: FakeEndpoint) -> None:
    with pytest.raises(Trouble) as caught:
        post(Endpoint(fake.url.replace("http:", "https:"), "m", timeout=2))
    assert "TLS" in caught.value.reason or "closed the connection" in caught.value.reason or caught.value.slow


def test_certificates_that_are_missing_or_none_are_named(secure: FakeEndpoint, tmp_path: Path) -> None:
    with pytest.raises(errors.FileMissing, match="does not exist"):
        post(Endpoint(secure.url, "m", ca_file=f"{tmp_path}/none.pem"))
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(errors.FileDamaged, match="no certificates that can be read"):
        post(Endpoint(secure.url, "m", ca_file=f"{tmp_path}/bad.pem"))


# Proxies ----------------------------------------------------------------------------------------------------------------------


def test_the_environments_proxy_is_asked(fake: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{fake.port}")
    assert post(Endpoint("http://host.invalid/v1", "m"), "the-key").status == 200
    (request,) = fake.requests
    assert (request.target, request.headers["host"]) == ("http://host.invalid/v1/embeddings", "host.invalid")
    assert request.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="


def test_no_proxy_names_hosts_that_are_asked_directly(fake: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert post(Endpoint(fake.url, "m")).status == 200


def test_tls_goes_through_a_tunnel(secure: FakeEndpoint, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{secure.port}")
    assert post(Endpoint("https://127.0.0.1:9/v1", "m", ca_file=str(certificate)), "the-key").status == 200
    connect, request = secure.requests
    assert (connect.method, connect.target) == ("CONNECT", "127.0.0.1:9")
    assert "authorization" not in connect.headers
    assert (request.target, request.headers["authorization"]) == ("/v1/embeddings", "Bearer the-key")


def test_a_tunnel_that_is_refused_is_told(secure: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{secure.port}")
    secure.script = [status(407, "who are you?")]
    with pytest.raises(Trouble, match="behind a proxy that answered HTTP 407"):
        post(Endpoint("https://host.invalid/v1", "m"), "the-key")


def test_a_proxy_of_another_kind_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://me:pass@proxy.invalid")
    with pytest.raises(errors.NotSupported, match="has not the form http://host:port") as caught:
        Line(Endpoint("https://host.invalid/v1", "m"), no_check)
    assert "pass" not in f"{caught.value}{caught.value.hint}"
