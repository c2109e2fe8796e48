#!/usr/bin/env bash
# Stage 1: data/pool and data/tasks from a local copy of the corpus (options after it: see prepare_voxceleb1.py).
set -euo pipefail

. ./path.sh
. ./db.sh
exec python3 local/prepare_voxceleb1.py --downloads "${VOXCELEB1}" --data_dir data "$@"
