#!/usr/bin/env bash
# usage: egs2/TEMPLATE/sitok1/setup.sh egs2/CORPUS/sitok1
#
# Makes the folder of a new recipe: links to the shared scripts, and the files that are the corpus' own.
set -euo pipefail

fail() {
    echo "$0: error: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: $0 egs2/CORPUS/sitok1"
template=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ ! -e "$1" ] || fail "$1 exists already"
[ "$(realpath -m "$1/../..")" = "$(realpath -m "${template}/../..")" ] ||
    fail "a recipe is egs2/CORPUS/sitok1 of this repository, not $1"

mkdir -p "$1/conf" "$1/local"
for file in sitok.sh cmd.sh path.sh; do
    ln -s "../../TEMPLATE/sitok1/${file}" "$1/${file}"
done

cat >"$1/db.sh" <<'EOF'
# shellcheck shell=bash disable=SC2034
# Where the corpora of this machine are. A relative path is relative to the recipe.

CORPUS=downloads
EOF

cat >"$1/local/data.sh" <<'EOF'
#!/usr/bin/env bash
# Stage 1: data/{train,dev,test}, each with wav.scp, utt2spk, spk2utt and, where there are transcripts, text.
set -euo pipefail

. ./path.sh
. ./db.sh
downloads=${CORPUS}
. "${SITOK_ROOT}/local/parse_options.sh"

echo "local/data.sh: error: write me: make data/{train,dev,test} from ${downloads}" >&2
exit 1
EOF

cat >"$1/run.sh" <<'EOF'
#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"

./sitok.sh \
    --train_set train \
    --valid_set dev \
    --test_sets test \
    --nbpe 4000 \
    --ngpu 1 \
    --train_config conf/train_sitok.yaml \
    "$@"
EOF
chmod +x "$1/local/data.sh" "$1/run.sh"

echo "made $1; to do: db.sh, local/data.sh, conf/train_sitok.yaml (start from the repository's conf/train_sitok_L.yaml or the mini recipe's), run.sh"
