"""An exchange on loopback that answers as one of them does, so that ccxt's own client can be pointed at it.

The market is made: the bar that opens at t has prices that follow from t. What goes wrong is planned: the k-th request for bars is answered
as ``faults[k]`` says.
"""

from __future__ import annotations

import http.server
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MINUTES", "ExchangeServer", "bar_at", "exchange_server"]

MINUTES = {"1m": 1, "5m": 5, "1h": 60, "1d": 1_440}
SYMBOL = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "baseAssetPrecision": 8,
    "quoteAsset": "USDT",
    "quotePrecision": 8,
    "quoteAssetPrecision": 8,
    "orderTypes": ["LIMIT"],
    "isSpotTradingAllowed": True,
    "isMarginTradingAllowed": False,
    "filters": [],
    "permissions": ["SPOT"],
    "permissionSets": [["SPOT"]],
}


def bar_at(open_ms: int) -> tuple[float, float, float, float, float]:
    """Return open, high, low, close and volume of the bar that opens then."""
    step = open_ms // 60_000 % 997
    return 100.0 + step, 102.0 + step, 99.0 + step, 101.0 + step, 5.0 + step


@dataclass(slots=True)
class ExchangeServer:
    """The exchange: the clock that it shows, what it has, and what goes wrong when; ``asked`` are the requests for bars."""

    now_ms: int
    url: str = ""
    first_ms: int = 0
    closed: tuple[int, int] = (0, 0)
    page: int = 500
    delay_s: float = 0.0
    faults: dict[int, str] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        """Return ccxt's settings that lead here."""
        urls = {"api": {"public": f"{self.url}/api/v3", "v1": f"{self.url}/api/v1", "sapi": f"{self.url}/sapi/v1"}}
        options = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}
        return {"urls": urls, "options": options, "rateLimit": 1, "timeout": 2_000}

    def klines(self, query: dict[str, str]) -> list[list[Any]]:
        """Return one page as Binance writes it, the open bar included."""
        step = MINUTES[query["interval"]] * 60_000
        start = max(int(query.get("startTime", 0)), self.first_ms)
        at = -(-start // step) * step
        found: list[list[Any]] = []
        while at <= self.now_ms and len(found) < min(int(query.get("limit", 500)), self.page):
            if not self.closed[0] <= at < self.closed[1]:
                prices = [f"{value:.8f}" for value in bar_at(at)]
                found.append([at, *prices, at + step - 1, "0", 1, "0", "0", "0"])
            at += step
        return found


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers of Binance's public API; ``state`` is set by a subclass."""

    protocol_version = "HTTP/1.1"
    state: ExchangeServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        state = self.state
        if parts.path == "/api/v3/exchangeInfo":
            self.answer({"timezone": "UTC", "serverTime": state.now_ms, "rateLimits": [], "exchangeFilters": [], "symbols": [SYMBOL]})
        elif parts.path == "/api/v3/time":
            self.answer({"serverTime": state.now_ms})
        elif parts.path == "/api/v3/klines":
            state.asked.append(int(query.get("startTime", 0)))
            time.sleep(state.delay_s)
            self.bars(state.faults.pop(len(state.asked), ""), query)
        else:
            self.answer({"code": -1, "msg": f"nothing at {parts.path}"}, status=404)

    def bars(self, fault: str, query: dict[str, str]) -> None:
        """Answer a request for bars, or do not."""
        refusals = {
            "busy": (429, -1003, "Too many requests."),
            "down": (503, -1001, "Internal error."),
            "refuse": (400, -1121, "Invalid symbol."),
        }
        if fault in refusals:
            status, code, message = refusals[fault]
            self.answer({"code": code, "msg": message}, status=status, headers={"Retry-After": "7"} if fault == "busy" else None)
        elif fault == "cut":
            body = json.dumps(self.state.klines(query)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.answer(self.state.klines(query))

    def answer(self, value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Send JSON."""
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def exchange_server(**fields: Any) -> Iterator[ExchangeServer]:
    """Run an exchange on loopback."""
    state = ExchangeServer(**fields)
    handler = type("Handler", (_Handler,), {"state": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
