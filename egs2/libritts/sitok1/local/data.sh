#!/usr/bin/env bash
# Stage 1: LibriTTS or LibriTTS-R of this machine -> data/{train,dev,test_clean,test_other} (options: prepare_libritts.py --help).
set -euo pipefail

. ./path.sh
. ./db.sh
exec python3 local/prepare_libritts.py --downloads "${LIBRITTS}" --release "${LIBRITTS_RELEASE}" --data_dir data "$@"
