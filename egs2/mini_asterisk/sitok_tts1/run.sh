#!/usr/bin/env bash
# A token language model on 20 minutes of English telephone prompts, one speaker, in minutes on a CPU. It needs the data and
# the tokenizer of ../sitok1 at the paper's working point, one codebook at 12.5 Hz, which a small language model can learn:
#   (cd ../sitok1 && ./run.sh --stop_stage 7 --train_config conf/train_sitok_mini.yaml)
set -euo pipefail
cd "$(dirname "$0")"

./sitok_tts.sh \
    --tokenizer ../sitok1/exp/sitok_mini_bpe256 \
    --train_config conf/train_lm_mini.yaml \
    --ngpu 0 \
    --nj 2 \
    --speed_perturb_factors "0.9 1.1" \
    --generate_args "--temperature 0.3 --top_p 0.95 --text_cfg_scale 1 --max_length_ratio 1.25 --max_seconds 12" \
    "$@"
