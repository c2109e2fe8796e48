#!/usr/bin/env bash
# Stage 1: the tasks of the mini recipe, from the data of the tokenizer recipes.
set -euo pipefail

. ./path.sh
. ./db.sh
asterisk_raw=${ASTERISK}
fillets_raw=${FILLETS}
downloads="" # the parent recipes fetch the corpora
. "${SITOK_ROOT}/local/parse_options.sh"

[ -z "${downloads}" ] || echo "local/data.sh: --downloads is not used here: see ../sitok1"
python3 local/prepare_tasks.py --asterisk "${asterisk_raw}" --fillets "${fillets_raw}" --data_dir data
