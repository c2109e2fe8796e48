#!/usr/bin/env bash
# Stage 1: real speech from the package manager -> data/{train,dev,test}.
#
# English Asterisk prompts: one female speaker, studio, 16 kHz, about 24 minutes, with transcripts.
# Recorded by Allison Smith, licence CC BY-SA 3.0 (data/LICENSE.txt names it beside the data).
set -euo pipefail

. ./path.sh
. ./db.sh

downloads=${ASTERISK}
lang=en

. "${SITOK_ROOT}/local/parse_options.sh"

work=data/local/asterisk_${lang}
packages=("asterisk-core-sounds-${lang}-g722" "asterisk-core-sounds-${lang}")

fail() {
    echo "local/data.sh: error: $*" >&2
    exit 1
}

# The newest file of a package in the downloads folder, or nothing.
package_file() {
    find "${downloads}" -maxdepth 1 -name "$1_*.deb" 2>/dev/null | sort | tail -n 1
}

mkdir -p "${downloads}"
for package in "${packages[@]}"; do
    [ -n "$(package_file "${package}")" ] && continue
    advice="put ${package}_<version>_all.deb into a folder and name it with --downloads DIR"
    command -v apt-get >/dev/null || fail "apt-get is not on this machine: ${advice}"
    echo "fetching ${package} into ${downloads}"
    # Into a scratch folder first: an interrupted download must not look like a package. 'trusted' file access for the
    # download user needs a world-readable place; apt-get only warns about it, hence APT::Sandbox::User.
    scratch=$(mktemp -d "${downloads}/fetch.XXXXXX")
    if ! (cd "${scratch}" && apt-get download -q -o APT::Sandbox::User= "${package}"); then
        rm -rf "${scratch}"
        fail "apt-get download ${package} failed: run 'apt-get update' first (needs root), or ${advice}"
    fi
    mv "${scratch}"/*.deb "${downloads}/"
    rmdir "${scratch}"
done

command -v dpkg-deb >/dev/null || fail "dpkg-deb is needed to unpack the packages (Debian package 'dpkg')"
# From here on nothing looks finished until the end.
rm -rf "${work}" data/{train,dev,test}/wav.scp
mkdir -p "${work}/tree"
for package in "${packages[@]}"; do
    file=$(package_file "${package}")
    dpkg-deb --extract "${file}" "${work}/tree" || fail "${file} is damaged: delete it and run this stage again"
    echo "$(basename "${file}"): $(wc -c <"${file}") bytes"
done

python3 local/prepare_asterisk.py --tree "${work}/tree" --audio_dir "${work}/audio" --data_dir data --lang "${lang}"

cat >data/LICENSE.txt <<EOF
Recordings and transcripts: Asterisk core sounds (${lang}), recorded by Allison Smith, (c) 2003-2010, with financial
contributions by Digium, Inc. Licence: Creative Commons Attribution-ShareAlike 3.0 (CC BY-SA 3.0),
https://creativecommons.org/licenses/by-sa/3.0/ . Source: Debian packages ${packages[*]}.
Changed here: decoded to FLAC, transcripts normalised, split into sets.
EOF
rm -rf "${work}/tree"
for set in train dev test; do
    python3 "${SITOK_ROOT}/local/check_data_dir.py" "data/${set}"
done
