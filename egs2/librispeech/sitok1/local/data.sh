#!/usr/bin/env bash
# Stage 1: LibriSpeech of this machine -> data/{train,dev,test_clean,test_other} (options: prepare_librispeech_sets.py --help).
set -euo pipefail

. ./path.sh
. ./db.sh
exec python3 local/prepare_librispeech_sets.py --downloads "${LIBRISPEECH}" --data_dir data "$@"
