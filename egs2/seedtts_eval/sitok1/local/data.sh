#!/usr/bin/env bash
# Stage 1: the SeedTTS test sets of a local copy -> data/test_{en,zh}, each with wav.scp, text, utt2spk and prompt.scp.
set -euo pipefail

. ./path.sh
. ./db.sh

downloads=${SEEDTTS}
langs="en zh"
allow_partial=false # true: copies with fewer utterances than the published sets
. "${SITOK_ROOT}/local/parse_options.sh"

partial=()
! "${allow_partial}" || partial=(--allow_partial)
# shellcheck disable=SC2086 # a list of languages
python3 local/prepare_seedtts.py --source "${downloads}" --langs ${langs} --out data "${partial[@]}"
