#!/usr/bin/env bash
# Stage 1 of recipes on speech from Debian packages: packages -> data/{train,dev,test...}. Run it in the recipe.
#
# From the recipe's local/data.sh:
#   --name NAME           of the corpus
#   --packages "A B-LANG" LANG stands for each of the languages
#   --prepare SCRIPT      the preparation script (options as speech_sets.py has them)
# From the user:
#   --downloads DIR       where the packages are or go to
#   --langs "en it"       separated by spaces or commas
set -euo pipefail

. ./path.sh

name=
packages=
prepare=
downloads=downloads
langs=

. "${SITOK_ROOT}/local/parse_options.sh"

read -ra langs <<<"${langs//,/ }"
read -ra packages <<<"${packages}"
if [ "${#langs[@]}" -eq 0 ]; then
    echo "local/data.sh: error: --langs names no language" >&2
    exit 1
fi
wanted=()
for package in "${packages[@]}"; do
    for lang in "${langs[@]}"; do
        wanted+=("${package//LANG/${lang}}")
    done
done
mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u)
work=data/local/${name}_$(IFS=_ && echo "${langs[*]}")

# From here on nothing looks finished until the end.
rm -rf "${work}" data/{train,dev,test*}/wav.scp
"${SITOK_ROOT}/local/unpack_debs.sh" "${downloads}" "${work}/tree" "${wanted[@]}"
python3 "${prepare}" --tree "${work}/tree" --audio_dir "${work}/audio" --data_dir data --langs "${langs[@]}"
rm -rf "${work}/tree"
for wav_scp in data/*/wav.scp; do
    python3 "${SITOK_ROOT}/local/check_data_dir.py" "${wav_scp%/*}"
done
