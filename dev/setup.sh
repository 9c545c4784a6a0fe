#!/usr/bin/env bash
# Makes the virtual environment: setup.sh PYTHON VENV UV_VERSION
set -euo pipefail
python=$1 venv=$2 uv=$3
cd "$(dirname "$0")/.."
started=$SECONDS
"$python" - <<'PY'
import sys
if not (3, 11) <= sys.version_info < (3, 14):
    sys.exit(f"setup: Python {sys.version.split()[0]} found, 3.11 to 3.13 needed: call make with PYTHON=/path/to/python3.12")
PY
if [ ! -x "$venv/bin/python" ]; then
  if ! "$python" -m venv "$venv" 2>/dev/null; then
    rm -rf "$venv"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      echo "setup: installing python3-venv"
      apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
      "$python" -m venv "$venv"
    else
      echo "setup: $python cannot make virtual environments: run 'apt-get install python3-venv' as root, then again" >&2
      exit 1
    fi
  fi
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore "uv==$uv"
export VIRTUAL_ENV="$PWD/$venv"
"$venv/bin/uv" pip install --quiet --require-hashes -r requirements/dev.txt
"$venv/bin/uv" pip install --quiet --no-deps --editable .
echo "setup: virtual environment ready after $((SECONDS - started)) s"
