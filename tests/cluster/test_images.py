import io
import json
import tarfile
from pathlib import Path

import pytest

from walkforward_cluster import dockerfile, engines, images, pip_access, scratch
from walkforward_cluster.errors import ClusterError

RECIPE = """ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS build
# COPY commented out
COPY requirements/server.txt \\
     requirements/extra.txt /tmp/
RUN --mount=type=bind,source=pyproject.toml,target=/p.toml pip install
FROM ${PYTHON_IMAGE}
COPY --from=build /venv /venv
COPY --chown=1:1 core/ server /app/
"""


def test_sources_are_what_the_context_gives_and_nothing_of_other_stages() -> None:
    expected = ["requirements/server.txt", "requirements/extra.txt", "pyproject.toml", "core/", "server"]
    assert dockerfile.sources(RECIPE) == expected


def test_only_what_is_copied_is_in_the_context(tmp_path: Path) -> None:
    for name in ("core/a.py", "core/deep/b.py", "other/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    recipe = tmp_path / "Dockerfile.x"
    recipe.write_text("FROM scratch\nCOPY core /core\n")
    files = dockerfile.context_files(tmp_path, recipe)
    assert [name for name, _ in files] == ["core/a.py", "core/deep/b.py"]
    context = tmp_path / "context"
    context.mkdir()
    dockerfile.stage(context, files, recipe)
    assert sorted(path.name for path in context.rglob("*") if path.is_file()) == ["Dockerfile", "a.py", "b.py"]


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "Dockerfile.x"
    recipe.write_text("FROM scratch\nCOPY nowhere /\n")
    with pytest.raises(ClusterError, match=r"Dockerfile.x copies nowhere: there is no such file"):
        dockerfile.context_files(tmp_path, recipe)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ClusterError, match="no image gateway"):
        images.build(["gateway"])


def test_a_scratch_image_is_the_same_bytes_each_time_and_complete(tmp_path: Path) -> None:
    binary = tmp_path / "tool"
    binary.write_bytes(b"\x7fELF")
    one = scratch.archive(tmp_path / "one.tar", binary, ["docker.io/walkforward/tool:dev"])
    other = scratch.archive(tmp_path / "other.tar", binary, ["docker.io/walkforward/tool:dev"])
    assert one.read_bytes() == other.read_bytes()
    with tarfile.open(one) as archive:
        manifest = json.loads(_content(archive, "manifest.json"))[0]
        config = json.loads(_content(archive, manifest["Config"]))
    assert manifest["RepoTags"] == ["docker.io/walkforward/tool:dev"]
    assert config["config"]["Entrypoint"] == ["/tool"]
    assert config["config"]["User"] == "65532:65532"


def test_retag_changes_the_tags_and_nothing_else(tmp_path: Path) -> None:
    binary = tmp_path / "tool"
    binary.write_bytes(b"\x7fELF")
    scratch.archive(tmp_path / "one.tar", binary, ["docker.io/walkforward/tool:1"])
    engines.retag(tmp_path / "one.tar", tmp_path / "two.tar", ("docker.io/walkforward/tool:1", "docker.io/walkforward/tool:dev"))
    with tarfile.open(tmp_path / "one.tar") as one, tarfile.open(tmp_path / "two.tar") as two:
        assert json.loads(_content(two, "manifest.json"))[0]["RepoTags"] == [
            "docker.io/walkforward/tool:1",
            "docker.io/walkforward/tool:dev",
        ]
        assert _content(one, "layer.tar") == _content(two, "layer.tar")


def test_the_environment_wins_over_pips_files() -> None:
    listing = "global.index-url='https://files.example/simple'\n:env:.index-url='https://env.example/simple'\nglobal.no-color='1'\n"
    assert pip_access.settings(listing) == {"index-url": "https://env.example/simple"}


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert isinstance(member, io.BufferedReader)
    return member.read()
