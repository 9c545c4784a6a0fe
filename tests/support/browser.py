"""A real browser for pages that need no network: Debian's Chromium over the DevTools protocol on a pipe.

It runs in a network namespace of its own where we may make one (as root), and with every host name unresolvable in any case. It is
installed when it is missing: a test that skips itself proves nothing.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from walkforward_cluster.packages import Package, ensure, find

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = Package("chromium", "chromium")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
ANSWER_S = 60.0


class Browser:
    """Chromium with one page; ``events`` holds what it said unasked."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, of: int) -> None:
        self._process, self._to, self._of = process, to, of
        self._next, self._rest = 0, b""
        self._session = ""
        self.events: list[dict[str, Any]] = []

    def attach(self) -> Self:
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def ask(self, method: str, **parameters: Any) -> Any:
        self._next += 1
        call = {"id": self._next, "method": method, "params": parameters} | ({"sessionId": self._session} if self._session else {})
        os.write(self._to, json.dumps(call).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_S
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self._next:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method: str) -> None:
        deadline = time.monotonic() + ANSWER_S
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._message(deadline))

    def open(self, url: str, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Load ``url`` in a window of ``width`` × ``height`` and wait until it is there."""
        self.events.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=scheme)
        self.ask("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def requests(self) -> list[str]:
        """Return the addresses that the page has asked for."""
        return [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Return what the console and the log of the browser have said."""
        said = [
            event["params"]
            for event in self.events
            if event.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        ]
        return [json.dumps(one) for one in said]

    def screenshot(self, path: Path) -> Path:
        """Write a picture of the whole page."""
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
        return path

    def pdf(self) -> bytes:
        """Return the page as it would be printed."""
        return base64.b64decode(self.ask("Page.printToPDF", printBackground=False)["data"])

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._of], [], [], max(deadline - time.monotonic(), 0.0))
            assert ready, f"the browser did not answer within {ANSWER_S:.0f} s"
            chunk = os.read(self._of, 1 << 20)
            assert chunk, f"the browser ended with {self._process.wait()}"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


@contextmanager
def browser(home: Path) -> Iterator[Browser]:
    """Run Chromium with its files below ``home``; it is gone afterwards."""
    ensure((CHROMIUM,))
    program = find("chromium")
    assert program is not None
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    own = ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []
    # Chromium reads commands from descriptor 3 and answers on 4; only bash takes descriptors of two digits
    shell = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{from_write}', "bash"]
    command = [*own, *shell, program, *FLAGS, f"--user-data-dir={home}"]
    env = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    log = (home / "browser.log").open("wb")
    process = subprocess.Popen(
        command, pass_fds=(to_read, from_write), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
    )
    os.close(to_read)
    os.close(from_write)
    try:
        yield Browser(process, to_write, from_read).attach()
    finally:
        os.close(to_write)
        os.close(from_read)
        # without its pipe it ends by itself
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
