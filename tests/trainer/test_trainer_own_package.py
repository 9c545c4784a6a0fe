"""The example of docs/recipes-of-your-own.md: a package beside walkforward adds a feature, a label and a recipe, and they train."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import yaml
from trainer_runs import eurusd

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "desk-recipes"


def installed(folder: Path) -> Path:
    """Return a folder with the package as an installer leaves it: its modules, and its entry points beside them."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shutil.copytree(EXAMPLE / "src" / "desk", folder / "desk")
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def train(tmp_path: Path, path: str) -> subprocess.CompletedProcess[str]:
    resource = yaml.safe_load((EXAMPLE / "modelretrain.yaml").read_text(encoding="utf-8"))
    resource["spec"]["data"]["uri"] = eurusd().as_uri()
    resource["spec"]["artifacts"]["uri"] = (tmp_path / "models").as_uri()
    spec = tmp_path / "retrain.yaml"
    spec.write_text(yaml.safe_dump(resource), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "walkforward_trainer", "run", "--spec", str(spec), "--allow-file"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_package_of_ones_own_adds_a_feature_a_label_and_a_recipe(tmp_path: Path) -> None:
    done = train(tmp_path, str(installed(tmp_path / "site")))
    result = msgspec.json.decode(done.stdout.splitlines()[-1])
    assert done.returncode in {0, 1}, done.stderr[-2000:]
    assert result["verdict"] in {"Published", "Rejected"}, result
    assert 0.4 < result["metrics"]["auc"] < 0.95
    if result["verdict"] == "Published":
        manifest = msgspec.json.decode((tmp_path / "models" / result["version"] / "manifest.json").read_bytes())
        assert manifest["input"]["features"][0] == "close_in_range_20"


def test_without_the_package_the_recipe_is_refused_by_name(tmp_path: Path) -> None:
    done = train(tmp_path, "")
    assert done.returncode == 78
    assert "recipe: desk-breakout is not in this image" in msgspec.json.decode(done.stdout.splitlines()[-1])["message"]
