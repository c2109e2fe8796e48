#!/usr/bin/env bash
# Stage 1: data/pool and data/tasks from a local copy of the corpus (options after it: see prepare_speechcommands.py).
set -euo pipefail

. ./path.sh
. ./db.sh
exec python3 local/prepare_speechcommands.py --downloads "${SPEECHCOMMANDS}" --data_dir data "$@"
