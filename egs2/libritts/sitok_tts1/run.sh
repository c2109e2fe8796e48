#!/usr/bin/env bash
# A token language model on LibriTTS, zero-shot: the speakers of the test sets are in no training set, and a prompt is another
# utterance of the same speaker. It needs the data and the tokenizer of ../sitok1 (its stages 1 to 7).
set -euo pipefail
cd "$(dirname "$0")"

./sitok_tts.sh \
    --tokenizer ../sitok1/exp/sitok_S_bpe4000 \
    --test_sets "test_clean" \
    --train_config ../../asterisk/sitok_tts1/conf/train_lm_05b.yaml \
    --ngpu 8 \
    --nj 16 \
    --inference_nj 8 \
    --gpu_inference true \
    --generate_args "--temperature 0.8 --top_p 0.95 --max_seconds 30" \
    "$@"
