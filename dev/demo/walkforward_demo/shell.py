"""kubectl and helm, as a person would call them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CommandError", "Shell"]


class CommandError(RuntimeError):
    """A command ended with an error; the message has its words and what it printed."""


@dataclass(frozen=True, slots=True)
class Shell:
    """Tools bound to one cluster."""

    kubectl_path: Path
    helm_path: Path
    kubeconfig: Path

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 60.0) -> str:
        """Run kubectl, return what it printed."""
        return self._run([str(self.kubectl_path), *words], stdin, timeout)

    def helm(self, *words: str, timeout: float = 300.0) -> str:
        """Run helm, return what it printed."""
        return self._run([str(self.helm_path), *words], None, timeout)

    def get(self, *words: str) -> list[dict[str, Any]]:
        """Return the objects that ``kubectl get`` finds."""
        found = json.loads(self.kubectl("get", *words, "-o", "json"))
        return list(found["items"]) if found["kind"] == "List" else [found]

    def apply(self, manifest: str) -> str:
        """Apply a manifest, as ``kubectl apply -f -`` does."""
        return self.kubectl("apply", "-f", "-", stdin=manifest)

    def user(self) -> str:
        """Return the name that the API server knows the caller by."""
        review = json.loads(self.kubectl("auth", "whoami", "-o", "json"))
        return str(review["status"]["userInfo"]["username"])

    def annotate(self, kind: str, name: str, verb: str, **members: str | bool) -> None:
        """Ask for an action; the caller's name is filled in, admission checks it."""
        value = json.dumps({**members, "by": self.user()})
        self.kubectl("annotate", "--overwrite", "-n", "fx", kind, name, f"walkforward.dev/{verb}={value}")

    def _run(self, command: list[str], stdin: str | None, timeout: float) -> str:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            shown = " ".join([os.path.basename(command[0]), *command[1:]])  # noqa: PTH119 - a word to show, not a path
            raise CommandError(f"{shown}\n{done.stdout[-1000:]}{done.stderr[:1000]}".strip())
        return done.stdout
