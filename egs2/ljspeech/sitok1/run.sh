#!/usr/bin/env bash
# SiTok on LJSpeech: 24 hours of one English reader at 22.05 kHz. One GPU is enough for its small model.
set -euo pipefail
cd "$(dirname "$0")"

./sitok.sh \
    --train_set train \
    --valid_set dev \
    --test_sets test \
    --nbpe 1000 \
    --ngpu 1 \
    --nj 8 \
    --gpu_inference true \
    --train_config conf/train_sitok_small.yaml \
    "$@"
