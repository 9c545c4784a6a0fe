#!/bin/sh
# Locks what the peers of `make bench` are installed from, with hashes.
set -eu
cd "$(dirname "$0")"
for peer in mlserver fastapi qlib freqai; do
  uv pip compile "$peer.in" --universal --generate-hashes --no-emit-index-url --no-header --quiet --python-version 3.11 --output-file "$peer.txt"
done
