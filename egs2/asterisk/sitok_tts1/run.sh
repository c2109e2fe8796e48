#!/usr/bin/env bash
# A token language model on telephone prompts in five languages, four speakers, in an hour on a CPU. It needs the data of
# ../sitok1 (its stages 1 and 2) and takes a tokenizer of the package. The scores of words are for English only.
set -euo pipefail
cd "$(dirname "$0")"

./sitok_tts.sh \
    --tokenizer asterisk_12hz \
    --train_config conf/train_lm_12hz.yaml \
    --ngpu 0 \
    --nj 2 \
    --speed_perturb_factors "0.9 1.1" \
    --generate_args "--temperature 0.3 --top_p 0.95 --text_cfg_scale 1 --max_length_ratio 1.25 --max_seconds 12" \
    "$@"
