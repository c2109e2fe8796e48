#!/usr/bin/env bash
# Stage 1: Asterisk prompts in five languages, four voices, from the package manager -> data/{train,dev,test,test_*}.
set -euo pipefail

. ./path.sh
. ./db.sh

"${SITOK_ROOT}/local/asterisk_data.sh" --downloads "${ASTERISK}" --langs "en es fr it ru" "$@"
