#!/usr/bin/env bash
# Keyword spotting on Speech Commands v0.02, 12 classes (--local_data_opts "--classes 35" for all words).
# --sitok_exp says which tokenizer: ./run.sh --sitok_exp EXPERIMENT --ngpu 1
set -euo pipefail
cd "$(dirname "$0")"

./sitok_probe.sh \
    --nj 8 \
    "$@"
