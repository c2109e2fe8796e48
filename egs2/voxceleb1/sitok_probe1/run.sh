#!/usr/bin/env bash
# Speaker verification on VoxCeleb1, the official trials.
# --sitok_exp says which tokenizer: ./run.sh --sitok_exp EXPERIMENT --ngpu 1
set -euo pipefail
cd "$(dirname "$0")"

./sitok_probe.sh \
    --nj 8 \
    "$@"
