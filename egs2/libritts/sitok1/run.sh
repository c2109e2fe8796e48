#!/usr/bin/env bash
# SiTok on LibriTTS or LibriTTS-R: 555 hours of read English at 24 kHz, or less of it (--train_subsets: README.md).
set -euo pipefail
cd "$(dirname "$0")"

./sitok.sh \
    --train_set train \
    --valid_set dev \
    --test_sets "test_clean test_other" \
    --nbpe 4000 \
    --ngpu 8 \
    --nj 16 \
    --inference_nj 8 \
    --gpu_inference true \
    --train_config ../../../conf/train_sitok_S.yaml \
    "$@"
