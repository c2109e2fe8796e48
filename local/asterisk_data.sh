#!/usr/bin/env bash
# Stage 1 of the recipes on Asterisk prompts: packages -> data/{train,dev,test...}. Run it in the recipe.
#
#   --downloads DIR   where the packages are or go to
#   --langs "en it"   of en es fr it ru, separated by spaces or commas
#
# Telephone prompts, studio, 16 kHz, 21 to 25 minutes of usable speech a language, with transcripts. Voices and licences
# are named in data/LICENSE.txt beside the data.
set -euo pipefail

. ./path.sh

downloads=downloads
langs=en

. "${SITOK_ROOT}/local/parse_options.sh"

read -ra langs <<<"${langs//,/ }"
if [ "${#langs[@]}" -eq 0 ]; then
    echo "local/data.sh: error: --langs names no language" >&2
    exit 1
fi
packages=()
for lang in "${langs[@]}"; do
    packages+=("asterisk-core-sounds-${lang}-g722" "asterisk-core-sounds-${lang}")
done
work=data/local/asterisk_$(IFS=_ && echo "${langs[*]}")

# From here on nothing looks finished until the end.
rm -rf "${work}" data/{train,dev,test*}/wav.scp
"${SITOK_ROOT}/local/unpack_debs.sh" "${downloads}" "${work}/tree" "${packages[@]}"
python3 "${SITOK_ROOT}/local/prepare_asterisk.py" --tree "${work}/tree" --audio_dir "${work}/audio" --data_dir data \
    --langs "${langs[@]}"
rm -rf "${work}/tree"
for wav_scp in data/{train,dev,test*}/wav.scp; do
    python3 "${SITOK_ROOT}/local/check_data_dir.py" "${wav_scp%/*}"
done
