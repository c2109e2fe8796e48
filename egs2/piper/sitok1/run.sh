#!/usr/bin/env bash
# SiTok on hours of synthetic English speech that stage 1 makes: what more speech does for a tokenizer.
#   --hours 10       of training speech; fewer hours are a part of more. 1 by default: ten minutes of one core make it,
#                    and the 4,500 steps of the configuration see it fifteen times
#   --voice kokoro   many voices instead of one (joe); the test set is of voices that training does not have
# Text pieces, statistics and experiments of each choice have folders of their own: give later stages the same options.
set -euo pipefail
cd "$(dirname "$0")"
export LC_ALL=C # 0.5, wherever it is run

hours=1
voice=joe
nj=2
local_data_opts=""
rest=()
while [ $# -gt 0 ]; do
    name=${1#--}
    case ${1//-/_} in
        __hours | __voice | __nj | __local_data_opts)
            [ $# -ge 2 ] || { echo "$0: error: option $1 needs a value" >&2 && exit 2; }
            printf -v "${name//-/_}" '%s' "$2"
            shift
            ;;
        __help) sed -n '3,6s/^# *//p' "${0##*/}" ;;&
        *) rest+=("$1") ;;
    esac
    shift
done
# Also the name of a folder.
[[ ${hours} =~ ^[0-9]+(\.[0-9]+)?$ && ${hours} =~ [1-9] ]] ||
    { echo "$0: error: --hours is a positive number of hours such as 10 or 0.5, not '${hours}'" >&2 && exit 2; }
hours=$(printf '%g' "${hours}")
suffix=""
[ "${voice}" = joe ] || suffix=_${voice}
name=${suffix:+${voice}_}${hours}h

./sitok.sh \
    --train_set "train_${name}" \
    --valid_set "dev${suffix}" \
    --test_sets "test${suffix}" \
    --dumpdir "dump/${name}" \
    --expdir "exp/${name}" \
    --token_listdir "data/token_list/${name}" \
    --nbpe 256 \
    --ngpu 0 \
    --nj "${nj}" \
    --local_data_opts "--hours ${hours} --voice ${voice} --nj ${nj} ${local_data_opts}" \
    --train_config conf/train_sitok_joe_12hz.yaml \
    "${rest[@]}"
