"""The way from a path to its answer, for both listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import msgspec

from walkforward_server.engine import NoModelError, NotScoredError, UnknownVersionError
from walkforward_server.metrics import render
from walkforward_server.transport import Response, error_response
from walkforward_server.v2 import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_server.engine import Answer
    from walkforward_server.node import Node
    from walkforward_server.table import Arm
    from walkforward_server.transport import Request

__all__ = ["AdminRoutes", "DataRoutes"]

_RETRY = b"retry-after: 1\r\n"
_ALLOW_GET = b"allow: GET, HEAD\r\n"
_ALLOW_POST = b"allow: POST\r\n"
_OCTETS = b"application/octet-stream"
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_GET = (b"GET", b"HEAD")

Get = "Callable[[Request], Response]"


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, msgspec.json.encode(value))


class DataRoutes:
    """Port ``http``: V2 inference and outcomes."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._infer_path = f"/v2/models/{node.engine.target}/infer".encode()

    def __call__(self, request: Request) -> Response:
        """Return the answer to one request; errors are counted by status."""
        response = self._infer(request, None) if request.path == self._infer_path else self._other(request)
        if response.status >= 400:
            self._node.totals.refused[response.status] += 1
        return response

    def _infer(self, request: Request, version: str | None) -> Response:
        if request.method != b"POST":
            return error_response(405, "inference is a POST", _ALLOW_POST)
        node = self._node
        node.totals.repeated += request.repeated
        try:
            answer = node.engine.infer(request.body, request.tensor_header, version, repeated=request.repeated)
        except BadRequestError as error:
            return error_response(400, str(error))
        except NoModelError as error:
            return error_response(503, str(error), _RETRY)
        except UnknownVersionError as error:
            return error_response(404, str(error.args[0]))
        except NotScoredError as error:
            response = error_response(500, str(error))
            work = error.work
            if work is not None:
                response.after = lambda seconds, ended: node.settler.put(work, seconds, ended)
            return response
        return self._answer(answer)

    def _answer(self, answer: Answer) -> Response:
        body, work = answer.body, answer.work
        response = Response(200, body.data)
        if body.header_length is not None:
            response.content_type = _OCTETS
            response.headers = b"inference-header-content-length: %d\r\n" % body.header_length
        if work is None:
            self._node.totals.explicit += 1
        else:
            put = self._node.settler.put
            response.after = lambda seconds, ended: put(work, seconds, ended)
        return response

    def _other(self, request: Request) -> Response:
        path = unquote(request.path.decode("latin-1"))
        if path == "/v1/outcomes":
            return self._outcomes(request)
        parts = path.removesuffix("/").split("/")[1:]
        if parts[0] != "v2":
            return error_response(404, f"no such path {path!r}; inference is at {self._infer_path.decode()}")
        return self._v2(request, parts, path)

    def _outcomes(self, request: Request) -> Response:
        if request.method != b"POST":
            return error_response(405, "outcomes are a POST", _ALLOW_POST)
        try:
            accepted = self._node.desk.post(request.body)
        except BadRequestError as error:
            return error_response(400, str(error))
        self._node.settler.wake()
        return _json(accepted)

    def _v2(self, request: Request, parts: list[str], path: str) -> Response:
        node = self._node
        match parts:
            case ["v2", "models", model, *rest] if model != node.engine.target:
                return error_response(404, f"model {model!r} is not served here, {node.engine.target!r} is")
            case ["v2", "models", _, "versions", version, "infer"]:
                return self._infer(request, version)
            case ["v2", "models", _, "infer"]:
                return self._infer(request, None)
            case ["v2"]:
                answer: Response = _json({"name": "walkforward", "version": node.software, "extensions": ["binary_tensor_data"]})
            case ["v2", "health", "live"]:
                answer = _json({"live": True})
            case ["v2", "health", "ready"]:
                answer = _json({"ready": node.ready}, 200 if node.ready else 503)
            case ["v2", "models"]:
                answer = _json({"models": [node.engine.target]})
            case ["v2", "models", name, *rest]:
                answer = self._model(name, rest, path)
            case _:
                return error_response(404, f"no such path {path!r}")
        return answer if request.method in _GET or answer.status == 404 else error_response(405, f"{path} is a GET", _ALLOW_GET)

    def _model(self, name: str, rest: list[str], path: str) -> Response:
        arms = self._node.engine.table.arms
        match rest:
            case [] | ["ready"]:
                arm = arms[0] if arms else None
            case ["versions", version] | ["versions", version, "ready"]:
                arm = next((arm for arm in arms if arm.model.version == version), None)
            case _:
                return error_response(404, f"no such path {path!r}")
        if rest[-1:] == ["ready"]:
            ready = arm is not None or (rest == ["ready"] and self._node.ready)
            return _json({"name": name, "ready": ready}, 200 if ready else 503)
        if arm is None:
            return error_response(404, f"model {name!r} has no such version loaded")
        return _json(_metadata(name, arm, [arm.model.version for arm in arms]))


def _metadata(name: str, arm: Arm, versions: list[str]) -> dict[str, Any]:
    """Return the V2 metadata; ``parameters`` say which features the tensor holds, in order."""
    model = arm.model
    manifest = model.manifest
    return {
        "name": name,
        "versions": versions,
        "platform": "onnx_onnxv1",
        "inputs": [{"name": manifest.input.name, "datatype": "FP32", "shape": [-1, model.width]}],
        "outputs": [
            {"name": manifest.output.name, "datatype": model.datatype, "shape": [-1, model.classes]},
            {"name": "position", "datatype": "FP64", "shape": [-1]},
            *({"name": name, "datatype": "FP32", "shape": [-1, columns]} for name, columns in model.heads.items()),
        ],
        "parameters": {
            "version": model.version,
            "bundle": model.digest,
            "features": ",".join(model.features),
            "nan": manifest.input.nan,
            "decision": manifest.decision.kind,
            "threshold": manifest.decision.threshold,
            "warmupBars": manifest.input.warmup_bars,
            "horizonMs": manifest.horizon.ms,
        },
    }


class AdminRoutes:
    """Port ``admin``: what operator, kubelet and Prometheus ask for. Never exposed to clients."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._paths: dict[bytes, Callable[[Request], Response]] = {
            b"/livez": lambda _request: _json({"live": True}),
            b"/readyz": lambda _request: _json({"ready": node.ready}, 200 if node.ready else 503),
            b"/v1/routing": lambda _request: Response(200, node.report().to_bytes()),
            b"/v1/stats": self._stats,
            b"/metrics": self._metrics,
            b"/ml/metrics": self._metrics,
        }

    def __call__(self, request: Request) -> Response:
        """Return the answer to one request."""
        answer = self._paths.get(request.path)
        if answer is None:
            return error_response(404, f"no such path; there are {', '.join(sorted(path.decode() for path in self._paths))}")
        if request.method not in _GET:
            return error_response(405, "everything here is a GET", _ALLOW_GET)
        return answer(request)

    def _stats(self, request: Request) -> Response:
        since = parse_qs(request.query.decode("latin-1")).get("from", ["0"])[-1]
        if not since.isdigit():
            return error_response(400, f"from is {since!r}, expected a routing generation")
        return Response(200, self._node.stats(int(since)).to_bytes())

    def _metrics(self, request: Request) -> Response:
        detail = parse_qs(request.query.decode("latin-1")).get("features") == ["1"]
        return Response(200, render(self._node, features=detail).encode(), content_type=_TEXT)
