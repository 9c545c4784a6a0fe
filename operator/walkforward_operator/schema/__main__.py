"""Write the CRDs and the reference pages, or with ``--check`` say which of them are out of date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from walkforward_operator.schema.crd import crd_yaml
from walkforward_operator.schema.kinds import KINDS
from walkforward_operator.schema.reasons import reasons_page
from walkforward_operator.schema.reference import page

__all__ = ["files", "main"]


def files() -> dict[str, str]:
    """Return every generated file, by its path in the repository."""
    made: dict[str, str] = {}
    for kind in KINDS:
        text = crd_yaml(kind)
        made[f"crds/{kind.file}"] = text
        made[f"charts/walkforward/files/crds/{kind.file}"] = text
        made[f"docs/reference/{kind.singular}.md"] = page(kind)
    made["docs/reference/conditions.md"] = reasons_page()
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 where ``--check`` found a file that differs."""
    parser = argparse.ArgumentParser(prog="python -m walkforward_operator.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file differs")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository (default: the current directory)")
    options = parser.parse_args(arguments)
    differing = [path for path, text in files().items() if _read(options.root / path) != text]
    for path in differing:
        if options.check:
            print(f"{path} is out of date: run `python -m walkforward_operator.schema` and commit it", file=sys.stderr)
        else:
            (options.root / path).parent.mkdir(parents=True, exist_ok=True)
            (options.root / path).write_text(files()[path], encoding="utf-8")
            print(f"wrote {path}")
    return 1 if options.check and differing else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
