# shellcheck shell=bash disable=SC2154
# Sourced by the stage scripts: who judges stage 8's audio. Uses their fetch_whisper, downloads, score_args and python.

# Fetch Whisper where --fetch_whisper asks for it, it is not at hand and is going to be used; where that fails the offline
# recogniser judges in its place, and the stage goes on.
fetch_judge() {
    if ! "${fetch_whisper}" || [ -n "${SITOK_WHISPER:-}" ]; then
        return
    fi
    if [[ " ${score_args} " == *" --metrics "* ]] && [[ ${score_args} != *" whisper_"* ]]; then
        return
    fi
    ${python} "${SITOK_ROOT}/local/fetch_whisper.py" ${downloads:+--downloads "${downloads}"} ||
        log "Whisper is not at hand: pocketsphinx judges in its place, which knows the words of the test texts"
}
