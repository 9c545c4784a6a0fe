"""An exchange by ccxt, patient: its own rate limiter, and waits that grow where it is busy or out of reach.

ccxt is an optional extra of the package (``download``) and is loaded when it is asked for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from walkforward_trainer.errors import BadConfiguration, Reason, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["ATTEMPTS", "Client", "Exchange", "open_client"]

log = logging.getLogger("walkforward.trainer")

ATTEMPTS: Final = 6
"""Requests for one page before it is given up; the waits between them add up to half a minute."""
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 120.0
"""Longest wait that an exchange may ask for."""


class Client(Protocol):
    """What is used of an exchange of ccxt."""

    has: Mapping[str, Any]
    timeframes: Mapping[str, Any] | None
    last_response_headers: Mapping[str, str] | None

    def load_markets(self) -> Mapping[str, Any]:
        """Return the instruments by symbol."""
        ...

    def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> Sequence[Sequence[Any]]:
        """Return [open time in ms, open, high, low, close, volume] of bars from ``since`` on."""
        ...

    def fetch_time(self) -> int:
        """Return the exchange's clock in milliseconds."""
        ...

    def milliseconds(self) -> int:
        """Return this machine's clock in milliseconds."""
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """A client with its patience; ``sleep`` waits so many seconds."""

    name: str
    client: Client
    sleep: Callable[[float], None]

    def check(self, symbol: str, timeframe: str) -> None:
        """Refuse what the exchange does not have.

        Raises
        ------
        BadConfiguration
            No bars, no such timeframe or symbol.
        """
        if not self.client.has.get("fetchOHLCV"):
            raise _refused(f"--exchange {self.name} gives no bars; choose another one")
        known = self.client.timeframes or {}
        if timeframe not in known:
            raise _refused(f"--timeframe {timeframe}: {self.name} has {', '.join(known)}; choose one of them")
        markets = self._patiently(self.client.load_markets)
        if symbol not in markets:
            near = [name for name in markets if name.partition("/")[0] == symbol.partition("/")[0].upper()][:8]
            raise _refused(
                f"--symbol {symbol}: {self.name} does not have it; {'near it: ' + ', '.join(near) if near else 'write BTC/USDT'}"
            )

    def now(self) -> int:
        """Return the time in milliseconds, the earlier of the exchange's and of this machine's clock: a bar is closed when both say so."""
        own = self.client.milliseconds()
        return min(own, self._patiently(self.client.fetch_time)) if self.client.has.get("fetchTime") else own

    def page(self, symbol: str, timeframe: str, since_ms: int, limit: int) -> Sequence[Sequence[Any]]:
        """Return one page of bars.

        Raises
        ------
        Transient
            The exchange is out of reach, or busy for too long.
        BadConfiguration
            It refuses.
        """
        found: Sequence[Sequence[Any]] = self._patiently(lambda: self.client.fetch_ohlcv(symbol, timeframe, since_ms, limit))
        return found

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """Return what ``call`` does, tried again while the exchange is busy."""
        import ccxt  # noqa: PLC0415 - an optional extra
        import requests  # noqa: PLC0415 - comes with ccxt

        wait = FIRST_WAIT_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return call()
            except ccxt.BaseError as error:
                if not isinstance(error, ccxt.OperationFailed) and not isinstance(error.__cause__, requests.RequestException):
                    raise _refused(f"{self.name}: {_first_line(error)}; check --symbol, --timeframe and --settings") from error
                if attempt == ATTEMPTS:
                    raise Transient(
                        Reason.EXCHANGE_UNAVAILABLE,
                        f"{self.name}: {_first_line(error)}, {ATTEMPTS} times; what was downloaded is kept, the same command goes on there",
                    ) from error
                pause = max(wait, self._asked_for())
                log.warning("%s: %s; again in %g s", self.name, _first_line(error), pause)
                self.sleep(pause)
                wait *= 2
        raise AssertionError("every attempt returns or raises")

    def _asked_for(self) -> float:
        """Return how many seconds the exchange has asked to wait for."""
        headers = {name.lower(): value for name, value in (self.client.last_response_headers or {}).items()}
        asked = str(headers.get("retry-after", ""))
        return min(float(asked), LONGEST_WAIT_S) if asked.isdigit() else 0.0


def open_client(name: str, settings: Mapping[str, Any]) -> Client:
    """Return the client of the exchange ``name``; ``settings`` are ccxt's own.

    Raises
    ------
    BadConfiguration
        ccxt is not installed, or does not know the exchange.
    """
    try:
        import ccxt  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise BadConfiguration(
            Reason.NOT_IN_THIS_RELEASE, "download: ccxt is not installed; pip install 'walkforward[trainer,download]'"
        ) from error
    if name not in ccxt.exchanges:
        raise _refused(f"--exchange {name}: ccxt {ccxt.__version__} does not know it; write it as ccxt does, binance for example")
    client: Client = getattr(ccxt, name)({"enableRateLimit": True, **settings})
    return client


def _refused(message: str) -> BadConfiguration:
    return BadConfiguration(Reason.EXCHANGE_REFUSED, message)


def _first_line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text[:200]}"
