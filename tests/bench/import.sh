#!/usr/bin/env bash
# What the import of a ViT-B/16 costs beside copying its file: the best time of both, turn by turn with the file in the page cache,
# and the most memory that is not a mapped file. Status 1 past twice the time, or past 64 MiB, of a file in float32.
#
#   tests/bench/import.sh [--vitc FILE] [--rounds R] [--folder FOLDER]
#
# FOLDER (of the system, for temporary files) should be on the disk that one would import to: 1.5 GB.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${PYTHON:-$(tests/reference/venv.sh)}" tests/bench/import_cost.py "$@"
