#!/usr/bin/env bash
# Four emotions of IEMOCAP, each session once the test set.
# --sitok_exp says which tokenizer: ./run.sh --sitok_exp EXPERIMENT --ngpu 1
set -euo pipefail
cd "$(dirname "$0")"

./sitok_probe.sh \
    --nj 8 \
    "$@"
