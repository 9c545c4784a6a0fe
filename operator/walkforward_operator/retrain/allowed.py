"""What the installation allows a ModelRetrain to use: images, Secrets, addresses, labels and annotations of the Job.

Whoever may create a ModelRetrain must not get an image, a Secret, credentials for a host of their choice or a webhook's favour by it.
Admission says most of this too; the operator says it again, since it is the one that acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walkforward_core.objectstore import within
from walkforward_operator.retrain.reasons import RetrainReason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from walkforward_core.api.retrain import JobSpec, RetrainSpec

__all__ = ["Installation", "Problem", "refusal"]

SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""The one annotation of a reserved prefix that belongs to whoever runs the Job."""
DATABASE: Final = "secret://"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something cannot be: ``reason`` for programs, ``message`` with field, value, reason and next step for people."""

    reason: RetrainReason
    message: str


@dataclass(frozen=True, slots=True)
class Installation:
    """The install values that concern retraining.

    ``image`` and ``secret`` are the release's own and always allowed, ``images`` and ``secrets`` what else may be named, word for word.
    ``data_roots`` and ``bundle_roots`` are URI prefixes. ``metadata_prefixes`` are the prefixes (before the slash) that labels and
    annotations of a Job may have; keys without a prefix are free. The ServiceAccount has no rights and its token is not mounted.
    """

    image: str
    secret: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    images: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    data_roots: tuple[str, ...] = ()
    bundle_roots: tuple[str, ...] = ()
    metadata_prefixes: tuple[str, ...] = ()

    def image_of(self, spec: RetrainSpec) -> str:
        """Return the trainer's image for ``spec``."""
        return spec.job.image or self.image

    def secret_of(self, spec: RetrainSpec) -> str:
        """Return the name of the object store's Secret for ``spec``."""
        return spec.artifacts.secret_name or self.secret


def refusal(spec: RetrainSpec, installation: Installation) -> Problem | None:
    """Return the first thing in ``spec`` that the installation does not allow, None where all is allowed."""
    return (
        _image(installation.image_of(spec), installation)
        or _secret(installation.secret_of(spec), installation)
        or _read(spec, installation)
        or _address("artifacts.uri", spec.artifacts.uri, installation.bundle_roots)
        or _job(spec.job, installation)
    )


def _read(spec: RetrainSpec, installation: Installation) -> Problem | None:
    """Return the first address to read from that is not allowed; a database's is in the Secret, which is allowed by its name."""
    read = [("data.uri", spec.data.uri)]
    read += [(f"data.joins[{number}].uri", join.uri) for number, join in enumerate(spec.data.joins)]
    read += [("data.trades.uri", spec.data.trades.uri)] if spec.data.trades is not None else []
    problems = (_address(field, uri, installation.data_roots) for field, uri in read if not uri.startswith(DATABASE))
    return next((problem for problem in problems if problem is not None), None)


def _image(image: str, installation: Installation) -> Problem | None:
    if not image:
        return Problem(
            RetrainReason.IMAGE_NOT_ALLOWED, "spec.job.image is not set and the installation has no trainer image: set one of them"
        )
    allowed = (installation.image, *installation.images)
    if image in allowed:
        return None
    return Problem(RetrainReason.IMAGE_NOT_ALLOWED, f"spec.job.image {image!r} is not allowed here: use {_listed(allowed)}")


def _secret(secret: str, installation: Installation) -> Problem | None:
    allowed = (installation.secret, *installation.secrets)
    if secret and secret in allowed:
        return None
    return Problem(RetrainReason.SECRET_NOT_ALLOWED, f"spec.artifacts.secretName {secret!r} is not allowed here: use {_listed(allowed)}")


def _address(field: str, uri: str, roots: tuple[str, ...]) -> Problem | None:
    if not uri.startswith("s3://") and not any(root.startswith("file://") for root in roots):  # such roots exist outside of clusters only
        return Problem(
            RetrainReason.FILE_REFUSED,
            f"spec.{field} {uri!r} is a pod's own disk, which is not shared and does not last: use s3://bucket/prefix",
        )
    if within(uri, roots):
        return None
    return Problem(RetrainReason.URI_NOT_ALLOWED, f"spec.{field} {uri!r} is not below an allowed prefix: use {_listed(roots)}")


def _job(job: JobSpec, installation: Installation) -> Problem | None:
    for field, keys in (("labels", job.labels), ("annotations", job.annotations)):
        for key in keys:
            prefix, slash, _ = key.rpartition("/")
            if slash and key != SAFE_TO_EVICT and prefix not in installation.metadata_prefixes:
                return Problem(
                    RetrainReason.JOB_SETTING_NOT_ALLOWED,
                    f"spec.job.{field} {key!r} has a prefix that controllers and webhooks may act on: use a key without prefix, "
                    f"or one with {_listed(installation.metadata_prefixes)}",
                )
    others = sorted(set(job.affinity or {}) - {"nodeAffinity"})
    if others:
        return Problem(RetrainReason.JOB_SETTING_NOT_ALLOWED, f"spec.job.affinity.{others[0]} is not allowed: only nodeAffinity is")
    return None


def _listed(values: Iterable[str]) -> str:
    """Return a few allowed values as prose."""
    known = sorted({value for value in values if value})
    return " or ".join(known[:5]) + (" …" if len(known) > 5 else "") if known else "nothing: the installation allows none"
