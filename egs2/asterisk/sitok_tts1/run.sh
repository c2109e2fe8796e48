#!/usr/bin/env bash
# A token language model on telephone prompts in five languages, four speakers. It needs the data and the tokenizer of
# ../sitok1 (its stages 1 to 7). The scores of words are for English only; other test sets: --test_sets "test test_es".
set -euo pipefail
cd "$(dirname "$0")"

./sitok_tts.sh \
    --tokenizer ../sitok1/exp/sitok_rvq8_25hz_bpe512 \
    --train_config conf/train_lm_small.yaml \
    --ngpu 0 \
    --nj 2 \
    --generate_args "--temperature 0.8 --top_p 0.95 --max_seconds 15" \
    "$@"
