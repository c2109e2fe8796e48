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

# fetch PACKAGE: apt-get download into the current folder. Package lists may be missing or old; fresh ones are then
# fetched into a folder of their own, which needs no root. apt's download user could not write here: hence Sandbox::User.
fetch() {
    local options=(-q -o APT::Sandbox::User=)
    apt-get download "${options[@]}" "$1" && return
    echo "fetching fresh package lists"
    mkdir -p lists/partial
    options+=(-o "Dir::State::lists=${PWD}/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
    apt-get update "${options[@]}" && apt-get download "${options[@]}" "$1"
}

mkdir -p "${downloads}"
for package in "${packages[@]}"; do
    [ -n "$(package_file "${package}")" ] && continue
    advice="put ${package}_<version>_all.deb into a folder and name it with --downloads DIR"
    command -v apt-get >/dev/null || fail "apt-get is not on this machine: ${advice}"
    echo "fetching ${package} into ${downloads}"
    # Into a scratch folder first: an interrupted download must not look like a package.
    scratch=$(mktemp -d "${downloads}/fetch.XXXXXX")
    if ! (cd "${scratch}" && fetch "${package}"); then
        rm -rf "${scratch}"
        fail "apt-get download ${package} failed: ${advice}"
    fi
    mv "${scratch}"/*.deb "${downloads}/"
    rm -rf "${scratch}"
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
