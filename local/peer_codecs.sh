# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by sitok.sh: the other codecs of stage 8's table. Uses its peers, peer_dir and downloads.

# Options for sitok_synth_systems, in the array peer_opts. Codec2 is fetched where it is asked for and not installed; where
# that fails its rows say so, and the stage goes on.
set_peer_opts() {
    peer_opts=()
    local names=()
    read -ra names <<<"${peers}"
    [ "${#names[@]}" -gt 0 ] || return 0
    if [[ " ${peers}" == *" codec2:"* ]] && [ ! -d "${peer_dir}/codec2" ] && ! command -v c2enc >/dev/null; then
        log "codec2 is not installed: it is fetched into ${peer_dir}/codec2"
        "${SITOK_ROOT}/local/fetch_codec2.sh" "${downloads:-downloads}" "${peer_dir}/codec2" ||
            log "codec2 could not be fetched: its rows are \"not run\" and say what to do"
    fi
    peer_opts=(--peers "${names[@]}" --peer_dir "${peer_dir}")
}
