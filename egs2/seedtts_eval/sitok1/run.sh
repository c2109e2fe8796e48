#!/usr/bin/env bash
# Scores a model on the SeedTTS test sets by resynthesis, as table 1 of the paper: nothing is trained here.
#   ./run.sh --scored_model DIR      DIR: a packed model (stage 9 of the recipe that trained it)
# The paper's metrics need weights that no package brings (docs/metrics.md):
#   ./run.sh --scored_model DIR --score_args "--metrics whisper_wer wavlm_sim_prompt utmos"
set -euo pipefail
cd "$(dirname "$0")"

./sitok.sh \
    --stop_stage 8 \
    --skip_stages "3 4 5 6 7" \
    --test_sets "test_en test_zh" \
    "$@"
