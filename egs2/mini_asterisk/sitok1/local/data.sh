#!/usr/bin/env bash
# Stage 1: one English speaker of the Asterisk prompts, 24 minutes, from the package manager -> data/{train,dev,test}.
set -euo pipefail

. ./path.sh
. ./db.sh

"${SITOK_ROOT}/local/asterisk_data.sh" --downloads "${ASTERISK}" --langs en "$@"
