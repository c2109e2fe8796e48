#!/usr/bin/env bash
# Speech recognition on LibriSpeech: train-clean-100, dev-clean, test-clean.
# --sitok_exp says which tokenizer: ./run.sh --sitok_exp EXPERIMENT --ngpu 1
set -euo pipefail
cd "$(dirname "$0")"

./sitok_probe.sh \
    --nbpe 1000 \
    --nj 8 \
    "$@"
