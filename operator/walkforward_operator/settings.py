"""What the operator is told by its environment; every error names the variable, its value and what to write instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from walkforward_core.errors import WalkforwardError
from walkforward_core.names import ADMIN_PORT
from walkforward_operator.retrain.allowed import Installation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "SettingsError"]

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_POLICIES: Final = ("Always", "IfNotPresent", "Never")


class SettingsError(WalkforwardError):
    """A variable of the environment is missing, or has no useful value."""


@dataclass(frozen=True, slots=True)
class ObjectStoreSettings:
    """Where bundles may be read from, and where the ledger goes (contract C9)."""

    bundle_roots: tuple[str, ...]
    ledger_uri: str
    allow_file: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything; see docs/architecture.md for the table of variables."""

    namespaces: tuple[str, ...]
    pod_uid: str
    pod_name: str
    pod_namespace: str
    lease_name: str
    object_store: ObjectStoreSettings
    installation: Installation
    metrics_port: int
    server_admin_port: int
    log_level: str
    crash_after_write: int | None
    mlflow_uri: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the environment; raises :class:`SettingsError`."""
        read = _Reader(env)
        file_store = read.choice("WALKFORWARD_ALLOW_FILE_STORE", ("true", "false"), "false") == "true"
        schemes = ("s3://", "file://") if file_store else ("s3://",)
        roots = read.uris("OBJECT_STORE_BUNDLE_ROOTS", schemes)
        return cls(
            namespaces=read.names("WATCH_NAMESPACES"),
            pod_uid=read.text("POD_UID"),
            pod_name=read.text("POD_NAME"),
            pod_namespace=read.text("POD_NAMESPACE"),
            lease_name=read.text("LEASE_NAME", "walkforward-operator"),
            object_store=ObjectStoreSettings(
                bundle_roots=roots,
                ledger_uri=read.uris("OBJECT_STORE_LEDGER_URI", schemes)[0].rstrip("/"),
                allow_file=file_store,
            ),
            installation=read.installation(schemes, roots),
            metrics_port=read.port("METRICS_PORT", 8081),
            server_admin_port=read.port("SERVER_ADMIN_PORT", ADMIN_PORT),
            log_level=read.choice("LOG_LEVEL", _LEVELS, "INFO"),
            crash_after_write=read.count("WALKFORWARD_CRASH_AFTER_WRITE"),
            mlflow_uri=read.address("MLFLOW_TRACKING_URI"),
        )


class _Reader:
    """Typed reads of one environment."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def text(self, variable: str, default: str | None = None) -> str:
        found = self._env.get(variable, "").strip() or default
        if found is None:
            raise SettingsError(f"{variable} is not set; the chart sets it, see the table of variables in docs/architecture.md")
        return found

    def items(self, variable: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.text(variable, "").split(",") if part.strip())

    def names(self, variable: str) -> tuple[str, ...]:
        found = self.items(variable)
        if not found:
            raise SettingsError(f"{variable} names no namespace; write the namespaces to watch, comma separated: prod,staging")
        for name in found:
            if _NAME.fullmatch(name) is None:
                raise SettingsError(
                    f"{variable} has {name!r}, which is no name of a namespace; patterns are not understood, write each name"
                )
        return tuple(dict.fromkeys(found))

    def uris(self, variable: str, schemes: tuple[str, ...], default: tuple[str, ...] = ()) -> tuple[str, ...]:
        found = self.items(variable) or default
        if not found:
            raise SettingsError(f"{variable} is not set; write where objects lie, {schemes[0]}bucket/prefix")
        for uri in found:
            if not uri.startswith(schemes):
                raise SettingsError(f"{variable} has {uri!r}, which does not begin with {' or '.join(schemes)}")
        return found

    def address(self, variable: str) -> str:
        found = self.text(variable, "")
        if found and not found.startswith(("http://", "https://")):
            raise SettingsError(f"{variable} is {found!r}; write the address of a server, https://mlflow.example.com, or leave it out")
        return found

    def choice(self, variable: str, allowed: tuple[str, ...], default: str) -> str:
        found = self.text(variable, default)
        if found not in allowed:
            raise SettingsError(f"{variable} is {found!r}; write one of {', '.join(allowed)}")
        return found

    def port(self, variable: str, default: int) -> int:
        found = self.text(variable, str(default))
        if not found.isdecimal() or not 0 <= int(found) <= 65_535:
            raise SettingsError(f"{variable} is {found!r}; write a port, 1 to 65535, or 0 for any free one")
        return int(found)

    def installation(self, schemes: tuple[str, ...], roots: tuple[str, ...]) -> Installation:
        return Installation(
            image=self.text("TRAINER_IMAGE"),
            secret=self.text("OBJECT_STORE_SECRET_NAME", ""),
            pull_policy=self.choice("TRAINER_IMAGE_PULL_POLICY", _POLICIES, "IfNotPresent"),
            pull_secrets=self.items("TRAINER_PULL_SECRETS"),
            service_account=self.text("TRAINER_SERVICE_ACCOUNT", ""),
            images=self.items("ALLOWED_TRAINER_IMAGES"),
            secrets=self.items("ALLOWED_SECRETS"),
            data_roots=tuple(dict.fromkeys((*self.uris("ALLOWED_URI_PREFIXES", schemes, roots), *roots))),
            bundle_roots=roots,
            metadata_prefixes=self.items("ALLOWED_METADATA_PREFIXES"),
        )

    def count(self, variable: str) -> int | None:
        found = self.text(variable, "")
        if found and (not found.isdecimal() or int(found) < 1):
            raise SettingsError(f"{variable} is {found!r}; write how many writes to make, 1 or more, or leave it out")
        return int(found) if found else None
