#!/usr/bin/env bash
# Stage 1: LJSpeech of this machine -> data/{train,dev,test} (options: prepare_ljspeech.py --help).
set -euo pipefail

. ./path.sh
. ./db.sh
exec python3 local/prepare_ljspeech.py --downloads "${LJSPEECH}" --data_dir data "$@"
