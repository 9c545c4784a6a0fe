"""The way to the API server: where it is, and a token that is renewed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import kopf
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from walkforward_operator.cluster import transport
from walkforward_operator.cluster.transport import Transport, login

if TYPE_CHECKING:
    from pathlib import Path


async def echo(request: web.Request) -> web.Response:
    said = {
        "authorization": request.headers.get("Authorization", ""),
        "content": request.headers.get("Content-Type", ""),
        "query": dict(request.query),
        "body": (await request.read()).decode(),
    }
    return web.json_response(said, status=418)


async def test_a_token_is_read_anew_and_an_answer_is_an_answer_whatever_its_status(tmp_path: Path) -> None:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", echo)
    token, now = tmp_path / "token", [100.0]
    token.write_text("first\n")
    async with TestServer(app) as server:
        info = kopf.ConnectionInfo(server=str(server.make_url("/")), token="first")
        sent = Transport(info, connections=2, token=token, clock=lambda: now[0])

        async def ask(**fields: Any) -> dict[str, Any]:
            answer = await sent.send("PATCH", "/apis/x", **fields)
            assert answer.status == 418
            found: dict[str, Any] = json.loads(answer.data)
            return found

        said = await ask(query={"force": "true", "limit": 5}, body={"a": 1}, content="application/apply-patch+yaml")
        assert said == {
            "authorization": "Bearer first",
            "content": "application/apply-patch+yaml",
            "query": {"force": "true", "limit": "5"},
            "body": '{"a":1}',
        }
        token.write_text("second\n")
        now[0] += 59
        assert (await ask())["authorization"] == "Bearer first"
        now[0] += 1
        assert (await ask())["authorization"] == "Bearer second"
        token.unlink()
        now[0] += 60
        with pytest.raises(OSError, match="token"):
            await ask()
        await sent.close()


def test_in_a_pod_the_api_server_is_asked_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="t")
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: inside)
    for host, server in (("10.96.0.1", "https://10.96.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443"), ("", inside.server)):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT_HTTPS", "6443")
        found = login(settings=kopf.OperatorSettings())
        assert found is not None
        assert (found.server, found.token) == (server, "t")


async def test_outside_of_one_the_kubeconfig_speaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
    monkeypatch.setattr(transport, "_TOKEN", tmp_path / "none")
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://example.test:6443/"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    connected = Transport.connect(connections=1)
    assert connected.server == "https://example.test:6443"
    await connected.close()
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(kopf.LoginError, match="set KUBECONFIG"):
        Transport.connect(connections=1)
