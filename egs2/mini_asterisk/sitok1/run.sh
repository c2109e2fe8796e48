#!/usr/bin/env bash
# SiTok on English telephone prompts: one speaker, 24 minutes, made for a laptop.
#   conf/train_sitok_mini_25hz.yaml  25 Hz, 8 codebooks, understood after 11 minutes of one core (default)
#   conf/train_sitok_mini.yaml       the paper's working point, 12.5 Hz and one codebook; about 15 minutes on 2 cores
#   conf/tuning/                     longer runs and a GPU: --train_config conf/tuning/... [--ngpu 1]
# 256 pieces: at 12.5 Hz every training utterance has at least as many tokens as its transcript needs (stage 3).
set -euo pipefail
cd "$(dirname "$0")"
# Networks this small gain little from a second thread, and on a busy machine two threads wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

./sitok.sh \
    --train_set train \
    --valid_set dev \
    --test_sets test \
    --nbpe 256 \
    --ngpu 0 \
    --nj 2 \
    --train_config conf/train_sitok_mini_25hz.yaml \
    --steps 4 \
    --temperature 0 \
    --pack_args "--steps 4 --temperature 0" \
    --peers "opus:6 codec2:700C codec2:1200" \
    --fetch_whisper true \
    "$@"
