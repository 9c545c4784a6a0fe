"""The API server as the scenarios use it: requests that survive an outage where they should, and watches that come back."""

from __future__ import annotations

import base64
import json
import os
import ssl
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml
from kube import Kube

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATIENCE", "Follower", "admin", "await_true", "item"]

Object = dict[str, Any]
APIS = {
    "ConfigMap": "v1",
    "Namespace": "v1",
    "Pod": "v1",
    "Secret": "v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "Lease": "coordination.k8s.io/v1",
    "ModelRetrain": "walkforward.dev/v1alpha1",
    "ModelRollout": "walkforward.dev/v1alpha1",
}
WATCH_S = 3
PATIENCE = float(os.environ.get("E2E_PATIENCE", "1"))
"""Factor on every wait and time limit, for a machine that is busy with something else."""


def item(kind: str, namespace: str, name: str, **fields: Any) -> Object:
    """Return an object of that name, with more fields where they are given."""
    return {"apiVersion": APIS[kind], "kind": kind, "metadata": {"namespace": namespace, "name": name}, **fields}


def admin(kubeconfig: Path) -> Kube:
    """Return the API with all rights, by the certificate in a kubeconfig."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=_inline(cluster, "certificate-authority"))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("crt", "key")]
        for file, field in zip(files, ("client-certificate", "client-key"), strict=True):
            file.write_text(_inline(user, field))
        context.load_cert_chain(files[0], files[1])
    return Kube(httpx.Client(base_url=cluster["server"], verify=context, timeout=20.0), kubeconfig)


def _inline(section: dict[str, str], field: str) -> str:
    data = section.get(f"{field}-data")
    return base64.b64decode(data).decode() if data else Path(section[field]).read_text()


def await_true(what: str, holds: Callable[[], object], seconds: float, every: float = 0.3) -> float:
    """Wait until ``holds`` returns something true; return the seconds that it took. An API server that is away is waited for."""
    began = time.monotonic()
    last = ""
    while True:
        try:
            if holds():
                return time.monotonic() - began
        except httpx.HTTPError as error:
            last = f"; last error: {type(error).__name__}: {error}"
        if time.monotonic() - began > seconds * PATIENCE:
            raise AssertionError(f"{what}: not within {seconds:.0f} s{last}")
        time.sleep(every)


class Follower:
    """Follows one object by name through a watch of its own connection, over outages of the API server.

    ``seen`` is called in the follower's thread with (epoch seconds, object), and with None once it is gone.
    """

    def __init__(self, kubeconfig: Path, collection: str, name: str, seen: Callable[[float, Object | None], None]) -> None:
        self._kube = admin(kubeconfig)
        self._collection, self._name, self._seen = collection, name, seen
        self._stop = threading.Event()
        self._version = ""
        self._there = False
        self._thread = threading.Thread(target=self._run, name=f"follow-{name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=WATCH_S + 10)
        self._kube.client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._list()
                while not self._stop.is_set() and self._watch():
                    pass
            except (httpx.HTTPError, json.JSONDecodeError):
                self._stop.wait(0.3)

    def _list(self) -> None:
        answer = self._kube.request("GET", self._collection, fieldSelector=f"metadata.name={self._name}")
        answer.raise_for_status()
        listed = answer.json()
        self._version = listed["metadata"]["resourceVersion"]
        for found in listed["items"]:
            self._there = True
            self._seen(time.time(), found)
        if not listed["items"] and self._there:
            self._there = False
            self._seen(time.time(), None)

    def _watch(self) -> bool:
        """Follow for some seconds; false when the list has to be read again."""
        query = {
            "watch": "1",
            "fieldSelector": f"metadata.name={self._name}",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_S),
            "allowWatchBookmarks": "true",
        }
        timeout = httpx.Timeout(5.0, read=WATCH_S + 5)
        with self._kube.client.stream("GET", self._collection, params=query, timeout=timeout) as answer:
            if answer.status_code != httpx.codes.OK:
                return False
            for line in answer.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return False
                self._version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._there = event["type"] != "DELETED"
                    self._seen(time.time(), event["object"] if self._there else None)
        return True
