#!/usr/bin/env bash
# SiTok on telephone prompts in five languages: four speakers, 123 minutes (115 after stage 2), a test set for each language.
# Some of them only: see README.md (that needs folders of its own).
# 512 pieces: at 12.5 Hz 99.3 % of the training utterances have as many tokens as their transcript needs (stage 3).
set -euo pipefail
cd "$(dirname "$0")"

./sitok.sh \
    --train_set train \
    --valid_set dev \
    --test_sets "test test_es test_fr test_it test_ru" \
    --nbpe 512 \
    --ngpu 0 \
    --nj 2 \
    --train_config conf/train_sitok_vq_12hz.yaml \
    --fetch_whisper true \
    "$@"
