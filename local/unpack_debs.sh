#!/usr/bin/env bash
# usage: local/unpack_debs.sh DOWNLOADS TREE PACKAGE...
#
# Unpacks Debian packages into the folder TREE (nothing is installed). What DOWNLOADS lacks is fetched into it with
# apt-get; a package that is there, of any version, is taken as it is.
set -euo pipefail

fail() {
    echo "${0##*/}: error: $*" >&2
    exit 1
}

[ $# -ge 3 ] || fail "usage: $0 DOWNLOADS TREE PACKAGE..."
downloads=$1
tree=$2
shift 2

# The newest file of a package in the downloads folder, or nothing.
package_file() {
    find "${downloads}" -maxdepth 1 -name "$1_*.deb" 2>/dev/null | sort | tail -n 1
}

# fetch PACKAGE: apt-get download into the current folder. Package lists may be missing or old; fresh ones are then
# fetched into a folder beside it, which needs no root. apt's download user could not write here: hence Sandbox::User.
fetch() {
    local options=(-q -o APT::Sandbox::User=)
    if [ ! -d ../lists ]; then
        apt-get download "${options[@]}" "$1" && return
        echo "fetching fresh package lists"
        mkdir -p ../lists/partial
        options+=(-o "Dir::State::lists=${PWD%/*}/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
        apt-get update "${options[@]}" || return
    else
        options+=(-o "Dir::State::lists=${PWD%/*}/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
    fi
    apt-get download "${options[@]}" "$1"
}

mkdir -p "${downloads}"
# Everything is fetched in a scratch folder first: an interrupted download must not look like a package.
scratch=$(mktemp -d "${downloads}/fetch.XXXXXX")
trap 'rm -rf "${scratch}"' EXIT
mkdir "${scratch}/packages"
for package in "$@"; do
    [ -n "$(package_file "${package}")" ] && continue
    advice="put ${package}_<version>_<architecture>.deb into a folder and name it with --downloads DIR"
    command -v apt-get >/dev/null || fail "apt-get is not on this machine: ${advice}"
    echo "fetching ${package} into ${downloads}"
    (cd "${scratch}/packages" && fetch "${package}") || fail "apt-get download ${package} failed: ${advice}"
    mv "${scratch}/packages"/*.deb "${downloads}/"
done

command -v dpkg-deb >/dev/null || fail "dpkg-deb is needed to unpack the packages (Debian package 'dpkg')"
mkdir -p "${tree}"
for package in "$@"; do
    file=$(package_file "${package}")
    dpkg-deb --extract "${file}" "${tree}" || fail "${file} is damaged: delete it and try again"
    echo "$(basename "${file}"): $(wc -c <"${file}") bytes"
done
