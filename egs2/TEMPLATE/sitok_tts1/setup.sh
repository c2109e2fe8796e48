#!/usr/bin/env bash
# usage: egs2/TEMPLATE/sitok_tts1/setup.sh egs2/CORPUS/sitok_tts1
#
# Makes the folder of a new recipe beside a corpus' sitok1: links to the shared scripts, and a run.sh to write.
set -euo pipefail

fail() {
    echo "$0: error: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: $0 egs2/CORPUS/sitok_tts1"
template=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ ! -e "$1" ] || fail "$1 exists already"
[ "$(realpath -m "$1/../..")" = "$(realpath -m "${template}/../..")" ] ||
    fail "a recipe is egs2/CORPUS/sitok_tts1 of this repository, not $1"

mkdir -p "$1/conf"
ln -s ../../TEMPLATE/sitok_tts1/sitok_tts.sh "$1/sitok_tts.sh"
for file in cmd.sh path.sh; do
    ln -s "../../TEMPLATE/sitok1/${file}" "$1/${file}"
done

cat >"$1/run.sh" <<'END'
#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"

./sitok_tts.sh \
    --sitok_dir ../sitok1 \
    --tokenizer ../sitok1/exp/sitok_TAG \
    --train_config conf/train_lm.yaml \
    --ngpu 1 \
    "$@"
END
chmod +x "$1/run.sh"

echo "made $1; to do: the name of the tokenizer in run.sh, conf/train_lm.yaml (start from egs2/asterisk/sitok_tts1/conf)"
