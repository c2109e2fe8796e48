#!/usr/bin/env bash
# SiTok on the acted Czech dialogue of a game: two main speakers and many small parts, 93 minutes, GPL-2.
# The test set is also a domain that the reference checkpoints have never seen (README.md).
# With the Dutch voices: see README.md (that needs folders of its own).
# 256 pieces: at 12.5 Hz 99.9 % of the training utterances have as many tokens as their transcript needs (stage 3).
set -euo pipefail
cd "$(dirname "$0")"

./sitok.sh \
    --train_set train \
    --valid_set dev \
    --test_sets test \
    --nbpe 256 \
    --ngpu 0 \
    --nj 2 \
    --train_config ../../mini_asterisk/sitok1/conf/train_sitok_mini_25hz.yaml \
    "$@"
