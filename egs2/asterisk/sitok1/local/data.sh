#!/usr/bin/env bash
# Stage 1: Asterisk prompts in five languages, four voices, from the package manager -> data/{train,dev,test,test_*}.
set -euo pipefail

. ./path.sh
. ./db.sh

"${SITOK_ROOT}/local/debian_speech.sh" --name asterisk --prepare "${SITOK_ROOT}/local/prepare_asterisk.py" \
    --packages "asterisk-core-sounds-LANG asterisk-core-sounds-LANG-g722" --downloads "${ASTERISK}" --langs "en es fr it ru" "$@"
