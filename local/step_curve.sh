# shellcheck shell=bash disable=SC2154
# Sourced by sitok.sh: stage 8's curve of quality against solver steps. Uses its settings, curve_opts and vocoder_opts.

# update_step_curve FOLDER DATA_DIR OPTION ...: measure where --step_curve asks for it and a setting or a model is another
# than before. A curve of other models is removed in any case: it would stand beside scores that it does not belong to.
update_step_curve() {
    local folder=$1 data_dir=$2 exp of settings words=() index
    shift 2
    local opts=("${curve_opts[@]}" "${vocoder_opts[@]}" ${temperature:+--temperatures "${temperature}"} "$@")
    read -ra words <<<"${synth_args}"
    for index in "${!words[@]}"; do # the same vocoder and noise as in the score table
        case ${words[index]} in
            --seed | --vocoder | --vocoder_conf) opts+=("${words[index]}" "${words[index + 1]:-}") ;;
        esac
    done
    of=$(printf '%q ' "${opts[@]}")
    for exp in "${sitok_exp}" "${refined_exps[@]}" ${vocoder_exp:+"${vocoder_exp}"}; do
        of+=$(stat -c ' %Y' "${exp}/train.done") # a training that went on has a new time
    done
    of+=" $(cksum <"${data_dir}/wav.scp")"
    if [ -d "${folder}" ] && [ "$(head -n 1 "${folder}/settings" 2>/dev/null)" != "${of}" ]; then
        log "${folder} is of other models or settings: removed"
        rm -r "${folder}"
    fi
    "${step_curve}" || return 0
    settings="${of}"$'\n'"--step_curve_args ${step_curve_args}"
    if [ "$(cat "${folder}/settings" 2>/dev/null)" = "${settings}" ]; then
        log "quality against steps is there: ${folder}/STEPS.md"
        return
    fi
    log "quality against steps, log: ${folder}/curve.log"
    # shellcheck disable=SC2086 # options in one string
    ${decode_cmd} --gpu "${inference_gpus}" "${folder}/curve.log" \
        ${python} -m sitok_espnet.bin.sitok_step_curve "${opts[@]}" \
        --data_dir "${data_dir}" --output_dir "${folder}" --device "${device}" \
        --cache "${expdir}/scores.jsonl" ${step_curve_args}
    printf '%s\n' "${settings}" >"${folder}/settings"
    log "results: ${folder}/STEPS.md"
}
