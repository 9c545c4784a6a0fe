"""Rules of the tree that no linter knows."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listing.splitlines() if (ROOT / line).is_file()]


def test_folder_operator_never_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "operator" / "operator.py").exists()


def test_tests_are_no_packages_and_have_names_of_their_own() -> None:
    names = [path.name for path in tracked() if path.parts[len(ROOT.parts)] == "tests" and path.suffix == ".py"]
    twice = {name for name in names if name.startswith("test_") and names.count(name) > 1}
    assert "__init__.py" not in names
    assert twice == set()


def test_modules_stay_readable() -> None:
    long = {}
    for path in tracked():
        if path.suffix == ".py":
            lines = path.read_text().count("\n")
            if lines > (900 if "tests" in path.relative_to(ROOT).parts else 600):
                long[str(path.relative_to(ROOT))] = lines
    assert long == {}


def test_images_lock_what_development_locks() -> None:
    pins = {}
    for line in (ROOT / "requirements" / "dev.txt").read_text().splitlines():
        if "==" in line and not line.startswith(" "):
            pins.setdefault(line.split("==")[0], set()).add(line.split()[0])
    for part in ("operator", "trainer", "server"):
        for line in (ROOT / "requirements" / f"{part}.txt").read_text().splitlines():
            if "==" in line and not line.startswith(" "):
                assert line.split()[0] in pins[line.split("==")[0]], f"{part}: {line}"


def test_operator_image_is_light_and_server_image_has_no_training() -> None:
    def names(part: str) -> set[str]:
        text = (ROOT / "requirements" / f"{part}.txt").read_text()
        return {line.split("==")[0] for line in text.splitlines() if "==" in line and not line.startswith(" ")}

    assert not names("operator") & {"pandas", "scikit-learn", "xgboost-cpu", "onnxruntime", "numpy"}
    assert not names("server") & {"scikit-learn", "xgboost-cpu", "kopf", "pandas"}
