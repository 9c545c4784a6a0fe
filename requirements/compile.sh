#!/bin/sh
# Locks the dependencies of every part with hashes: dev first, the images' subsets constrained by it.
set -eu
cd "$(dirname "$0")/.."
lock() {
  uv pip compile pyproject.toml "$@" --universal --generate-hashes --no-emit-index-url --no-header --quiet --python-version 3.11
}
lock --extra dev --output-file requirements/dev.txt
for part in operator trainer server; do
  # the trainer's image can log to MLflow; a run that does not never loads it
  [ "$part" = trainer ] && more="--extra tracking" || more=""
  # shellcheck disable=SC2086 # no word or two
  lock --extra "$part" $more --constraints requirements/dev.txt --output-file "requirements/$part.txt"
done
# the server that the tracking test talks to: too much for everybody's environment, so it has one of its own
uv pip compile requirements/mlflow-server.in --universal --generate-hashes --no-emit-index-url --no-header --quiet --python-version 3.11 \
  --output-file requirements/mlflow-server.txt
