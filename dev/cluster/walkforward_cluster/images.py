"""The project's images: keyed by the Dockerfile, the files that it copies and the base image; built only when a key is new."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from walkforward_cluster import dockerfile, engines
from walkforward_cluster.errors import ClusterError
from walkforward_cluster.locks import locked
from walkforward_cluster.own import OwnCluster
from walkforward_cluster.paths import cache, checkout, content_key
from walkforward_cluster.progress import say, step
from walkforward_cluster.scratch import scratch_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from walkforward_cluster.cluster import Cluster

PARTS = ("operator", "trainer", "server")
_KEPT = 4


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: `tag` names its content, `walkforward/<part>:dev` whatever was loaded last."""

    part: str
    key: str
    archive: Path

    @property
    def tag(self) -> str:
        """The name that is safe to deploy: it never comes to mean something else."""
        return f"walkforward/{self.part}:{self.key}"


def build(parts: Sequence[str] = PARTS) -> list[Image]:
    """The images of those parts, built where no archive has their key."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise ClusterError(f"no image {', '.join(sorted(unknown))}", reason="there is no such part", next_step=f"one of {', '.join(PARTS)}")
    with locked(cache() / "images" / "build.lock", "building images"):
        engine = engines.choose()
        return [_image(part, engine) for part in parts]


def load(cluster: Cluster, built: Sequence[Image]) -> None:
    """Import images into a cluster, the object store's too where the cluster has it not from its start."""
    archives = [image.archive for image in built]
    if not isinstance(cluster, OwnCluster):
        archives.append(scratch_images()["versitygw"])
    with step(f"loading {', '.join(image.tag for image in built)} into {cluster.name}"):
        cluster.load_images(archives)


def _image(part: str, engine: engines.Engine) -> Image:
    recipe = checkout() / f"Dockerfile.{part}"
    if not recipe.exists():
        raise ClusterError(f"cannot build the {part} image", reason=f"{recipe.name} is missing", next_step="check out the whole repository")
    files = dockerfile.context_files(checkout(), recipe)
    key = content_key([*files, (recipe.name, recipe)], engine.key())
    image = Image(part, key, cache() / "images" / part / f"{key}.tar")
    if image.archive.exists():
        image.archive.touch()  # used now, so not the next to be pruned
        say(f"image {image.tag}: as built before ({_size(image.archive)})")
        return image
    _build(image, engine, recipe, files)
    say(f"image {image.tag}: {_size(image.archive)}")
    _prune(image.archive.parent)
    return image


def _build(image: Image, engine: engines.Engine, recipe: Path, files: list[tuple[str, Path]]) -> None:
    image.archive.parent.mkdir(parents=True, exist_ok=True)
    log = cache() / "logs" / f"image-{image.part}.log"
    with tempfile.TemporaryDirectory(prefix="walkforward-image-") as folder:
        context = Path(folder) / "context"
        context.mkdir()
        dockerfile.stage(context, files, recipe)
        partial = image.archive.with_suffix(".part")
        tags = (f"docker.io/{image.tag}", f"docker.io/walkforward/{image.part}:dev")
        with step(f"building image {image.tag}"):
            engine.build(engines.Job(context, tags, partial, log))
        partial.replace(image.archive)


def _prune(folder: Path) -> None:
    archives = sorted(folder.glob("*.tar"), key=lambda path: path.stat().st_mtime)
    for old in archives[:-_KEPT]:
        old.unlink()


def _size(archive: Path) -> str:
    return f"{archive.stat().st_size / 1e6:.0f} MB"
