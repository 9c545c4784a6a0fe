"""Builders of container images behind one call: docker, podman or buildah, whichever is there."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from dataclasses import dataclass
from functools import cache as once
from typing import TYPE_CHECKING, Protocol

from walkforward_cluster import base_image, packages, pip_access
from walkforward_cluster.external import docker_runs
from walkforward_cluster.packages import find
from walkforward_cluster.paths import cache
from walkforward_cluster.shell import run, run_logged

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Job:
    """One build: a context with a `Dockerfile`, the tags, where the archive goes, where the words go."""

    context: Path
    tags: tuple[str, ...]
    archive: Path
    log: Path


class Engine(Protocol):
    """A builder."""

    def key(self) -> str:
        """What of the builder decides the result: the base image."""

    def build(self, job: Job) -> None:
        """Build and write `job.archive`."""


@dataclass(frozen=True, slots=True)
class DockerLike:
    """Docker or podman: they reach a registry, so the Dockerfile's own base image is used."""

    program: str

    def key(self) -> str:
        """The base image asked for, if any."""
        return f"registry {os.environ.get('PYTHON_IMAGE', '')}"

    def build(self, job: Job) -> None:
        """Build, then save under all tags."""
        names = [word for tag in job.tags for word in ("--tag", tag)]
        chosen = [f"--build-arg=PYTHON_IMAGE={os.environ['PYTHON_IMAGE']}"] if os.environ.get("PYTHON_IMAGE") else []
        # Proxies are arguments that every Dockerfile has and no layer keeps.
        proxies = [f"--build-arg={name}" for name in os.environ if name.lower() in {"http_proxy", "https_proxy", "no_proxy"}]
        run_logged([self.program, "build", *names, *chosen, *proxies, job.context], job.log, hint="see the log")
        multiple = ["--multi-image-archive"] if self.program == "podman" else []
        run_logged([self.program, "save", *multiple, "--output", job.archive, *job.tags], job.log, hint="see the log")


@dataclass(frozen=True, slots=True)
class Buildah:
    """Buildah without a daemon and without a registry: its storage, base image included, is in our cache."""

    def key(self) -> str:
        """The base image's recipe, or the image asked for."""
        return os.environ.get("PYTHON_IMAGE") or base_image.key()

    def build(self, job: Job) -> None:
        """Build by layers, then write the archive and give it all tags."""
        base = os.environ.get("PYTHON_IMAGE") or self._base(job.log)
        access = pip_access.prepare(job.context.parent)
        volumes = [f"--volume={outside}:{inside}:ro" for outside, inside in access.volumes]
        options = [
            "--isolation=chroot",
            "--network=host",
            "--layers",
            "--format=docker",
            "--pull-never",
            f"--build-arg=PYTHON_IMAGE={base}",
        ]
        run_logged([*_buildah(), "bud", *options, *volumes, f"--tag={job.tags[0]}", job.context], job.log, hint="see the log")
        raw = job.archive.with_suffix(".raw")
        run_logged(
            [*_buildah(), "push", job.tags[0], f"docker-archive:{raw}:{job.tags[0]}"], job.log, hint="see the log; is the disk full?"
        )
        retag(raw, job.archive, job.tags)
        raw.unlink()

    def _base(self, log: Path) -> str:
        name = f"localhost/walkforward-python:{base_image.key()}"
        if run([*_buildah(), "inspect", "--type=image", name], check=False).returncode != 0:
            context = base_image.tarball().parent / f"context-{base_image.key()}"
            shutil.rmtree(context, ignore_errors=True)
            context.mkdir()
            (context / "base.tar").hardlink_to(base_image.tarball())
            (context / "Dockerfile").write_text('FROM scratch\nADD base.tar /\nENV LANG=C.UTF-8\nCMD ["python3"]\n')
            run_logged([*_buildah(), "bud", "--isolation=chroot", "--format=docker", f"--tag={name}", context], log, hint="see the log")
            shutil.rmtree(context)
        return name


def choose() -> Engine:
    """The builder of this machine; buildah is installed where none is there."""
    if docker_runs():
        return DockerLike("docker")
    if find("podman") is not None and find("buildah") is None:
        return DockerLike("podman")
    packages.ensure(packages.IMAGES)
    return Buildah()


@once
def _buildah() -> tuple[str, ...]:
    root = cache() / "buildah"
    places = ("--root", str(root / "root"), "--runroot", str(root / "run"))
    overlay = ("buildah", *places, "--storage-driver", "overlay")
    if run([*overlay, "info"], check=False).returncode == 0:
        return overlay
    # An overlay on top of an overlay (a container without a volume) does not work; copies do, slowly.
    return ("buildah", "--root", str(root / "vfs"), "--runroot", str(root / "run-vfs"), "--storage-driver", "vfs")


def retag(source: Path, target: Path, tags: tuple[str, ...]) -> None:
    """Copy a docker-archive with other tags: the manifest is a file in the tar."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            content = old.extractfile(member)
            if member.name == "manifest.json" and content is not None:
                manifest = json.loads(content.read())
                manifest[0]["RepoTags"] = list(tags)
                body = json.dumps(manifest).encode()
                member.size = len(body)
                new.addfile(member, io.BytesIO(body))
            elif member.name != "repositories":  # the form before manifest.json, which would bring the old tag back
                new.addfile(member, content)
