#!/usr/bin/env bash
# usage: local/fetch_codec2.sh DOWNLOADS FOLDER
#
# The programs c2enc and c2dec and their library, from Debian packages in DOWNLOADS (fetched into it with apt-get where it
# lacks them), unpacked into FOLDER: for a machine where codec2 is not installed. Needs no root. Give the folder above
# FOLDER, which must be called codec2, to sitok_synth_systems as --peer_dir.
set -euo pipefail

[ $# -eq 2 ] && [ "$(basename "$2")" = codec2 ] || {
    echo "usage: $0 DOWNLOADS FOLDER/codec2" >&2
    exit 1
}
downloads=$1
folder=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
new=${folder}.new
rm -rf "${new}"

"${here}/unpack_debs.sh" "${downloads}" "${new}" codec2
package=$(find "${downloads}" -maxdepth 1 -name "codec2_*.deb" | sort | tail -n 1)
# The library's name has its version: libcodec2-1.0, libcodec2-1.2 ...
library=$(dpkg-deb --field "${package}" Depends | grep -oE 'libcodec2-[0-9.]+' | head -n 1) || {
    echo "${0##*/}: error: ${package} does not say which libcodec2 it needs" >&2
    exit 1
}
"${here}/unpack_debs.sh" "${downloads}" "${new}" "${library}"
rm -rf "${folder}"
mv "${new}" "${folder}"
