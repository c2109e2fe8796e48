#!/usr/bin/env bash
# Stage 1: dialogue of the game Fish Fillets from the package manager -> data/{train,dev,test}; --langs "cs nl" adds the
# Dutch voices (in train and dev, and test_nl).
set -euo pipefail

. ./path.sh
. ./db.sh

"${SITOK_ROOT}/local/debian_speech.sh" --name fillets --prepare local/prepare_fillets.py \
    --packages "fillets-ng-data fillets-ng-data-LANG" --downloads "${FILLETS}" --langs cs "$@"
