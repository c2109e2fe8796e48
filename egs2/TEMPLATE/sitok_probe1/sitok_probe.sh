#!/usr/bin/env bash
# Understanding probes on a frozen tokenizer, stage by stage; a corpus' run.sh calls it with its own settings.
set -euo pipefail

# ---- Options: every variable of this block is --name VALUE on the command line ----

# General
stage=1                # the first stage to run
stop_stage=7           # the last one
skip_stages=""         # stages in between to leave out, as "2 4" or 2,4
ngpu=0                 # 1 trains on a GPU
nj=2                   # parallel jobs for audio
inference_nj=1         # parallel jobs for the features
probe_nj=1             # processes that share the probes
gpu_inference=false    # features and scores on the GPU
python=python3
dumpdir=dump
expdir=exp             # of another tokenizer: another --dumpdir and --expdir

# Data
downloads=""           # where local/data.sh finds its corpus; empty: what db.sh says
local_data_opts=""     # more options for local/data.sh

# The tokenizer, frozen
sitok_exp=""           # experiment (exp/sitok_<tag> of a sitok1 recipe), packed model, or name of one of the package
inference_model=""     # file in the experiment; empty: packed or best

# Tasks and probes
tasks=""               # folders of data/tasks; empty: all that stage 1 made
inputs="mel tokens continuous"   # and "quantized": the vectors of the tokens
probes=""              # architectures (conf/probe/<name>.yaml) instead of the tasks' own
nbpe=1000              # lines of the token list of speech recognition
bpemode=unigram
train_args=""          # more options for training, as "--max_epoch 2"
table_args=""          # more options for the table, as "--resamples 200"
report_args=""         # more options for the page, as "--title Probes"

help_message="usage: $0 [--name VALUE ...]
$(sed -n '/^# ---- Options/,/^help_message/{/^help_message/d;s/^# ----.*/Options and their defaults:/;p}' "${BASH_SOURCE[0]}")"

run_args=$(printf '%q ' "./${0##*/}" "$@")
cd "$(dirname "$0")" # the recipe, where this script is a link
. ./path.sh
. "${SITOK_ROOT}/local/parse_options.sh"
. ./cmd.sh
. "${SITOK_ROOT}/local/stage_functions.sh"

stage_names=("" "data preparation" "24 kHz audio" "labels and text pieces" "features" "training" "scores" "table")
check_numbers stage stop_stage ngpu nj inference_nj probe_nj nbpe
check_stages 7
[ $# -eq 0 ] || die "'$1' is not an option: options are --name VALUE"

pool=${dumpdir}/raw/pool
feats=${dumpdir}/feats
device=cpu
inference_gpus=0
if "${gpu_inference}"; then
    device=cuda
    inference_gpus=1
fi
checkpoint_opts=()
[ -z "${inference_model}" ] || checkpoint_opts=(--checkpoint "${inference_model}")

# Names of the tasks, in the array task_names.
set_task_names() {
    local folder
    read -ra task_names <<<"${tasks}"
    [ "${#task_names[@]}" -eq 0 ] || return 0
    for folder in data/tasks/*/task.json; do
        [ -f "${folder}" ] || die "data/tasks has no task: run stage 1 first"
        task_names+=("$(basename "$(dirname "${folder}")")")
    done
}

# What stages 5 to 7 have in common, in the array plan_opts.
set_plan_opts() {
    local input task
    set_task_names
    for task in "${task_names[@]}"; do
        need "${dumpdir}/tasks/${task}/targets.txt" 3
    done
    for input in ${inputs}; do
        need "${feats}/${input}/input.json" 4
    done
    # shellcheck disable=SC2206 # lists of names
    plan_opts=(--tasks "${task_names[@]}" --inputs ${inputs} --task_dir "${dumpdir}/tasks" --feats_dir "${feats}"
        --conf_dirs conf/probe "${SITOK_ROOT}/conf/probe" --expdir "${expdir}")
    # shellcheck disable=SC2206
    [ -z "${probes}" ] || plan_opts+=(--probes ${probes})
}

# ---- Stages ----

stage_1() {
    local opts=()
    [ -z "${downloads}" ] || opts+=(--downloads "${downloads}")
    # shellcheck disable=SC2206 # several options in one string
    opts+=(${local_data_opts})
    local/data.sh "${opts[@]}"
}

stage_2() {
    need data/pool/wav.scp 1
    ${python} "${SITOK_ROOT}/local/check_data_dir.py" data/pool
    ${python} "${SITOK_ROOT}/local/format_wav_scp.py" --fs 24000 --nj "${nj}" --in_dir data/pool --out_dir "${pool}"
    ${python} "${SITOK_ROOT}/local/check_data_dir.py" "${pool}"
}

stage_3() {
    local task out kind
    need "${pool}/utt2num_samples" 2
    set_task_names
    for task in "${task_names[@]}"; do
        out=${dumpdir}/tasks/${task}
        kind=$(${python} "${SITOK_ROOT}/local/probe_targets.py" --task_dir "data/tasks/${task}" --pool_dir "${pool}" \
            --out_dir "${out}")
        [ "${kind}" = text ] || continue
        ${python} "${SITOK_ROOT}/local/train_sentencepiece.py" --data_dir "${out}/train" --out_dir "${out}/pieces" \
            --nbpe "${nbpe}" --model_type "${bpemode}"
        ${python} "${SITOK_ROOT}/local/probe_targets.py" --out_dir "${out}" --finish
    done
}

stage_4() {
    local opts=("${checkpoint_opts[@]}" --wav_scp "${pool}/wav.scp" --device "${device}" --num_jobs "${inference_nj}")
    local tokens=() frames=()
    need "${pool}/wav.scp" 2
    [ -n "${sitok_exp}" ] || die "say which tokenizer: --sitok_exp EXPERIMENT (or a packed folder, or a model's name)"
    if [[ " ${inputs} " == *" tokens "* ]]; then
        log "tokens, logs: ${feats}/logs/tokens.*.log"
        ${decode_cmd} --gpu "${inference_gpus}" JOB=1:"${inference_nj}" "${feats}/logs/tokens.JOB.log" \
            ${python} -m sitok_espnet.bin.sitok_dump --model "${sitok_exp}" "${opts[@]}" \
            --output_dir "${feats}/tokens" --job JOB
        need "${feats}/tokens/manifest.json" 4
        tokens=(--token_dump "${feats}/tokens")
    fi
    [ "${inputs}" = tokens ] || frames=(--output_dir "${feats}")
    log "mel and encoder output, logs: ${feats}/logs/frames.*.log"
    ${decode_cmd} --gpu "${inference_gpus}" JOB=1:"${inference_nj}" "${feats}/logs/frames.JOB.log" \
        ${python} -m sitok_espnet.bin.probe_features --model "${sitok_exp}" "${opts[@]}" "${frames[@]}" "${tokens[@]}" \
        --job JOB
}

stage_5() {
    local launcher=${cuda_cmd} plan_opts
    [ "${ngpu}" -gt 0 ] || launcher=${train_cmd}
    set_plan_opts
    mkdir -p "${expdir}/probes"
    write_run_sh "${expdir}/probes/run.sh" 5
    log "probes, logs: ${expdir}/probes/train.*.log, and train.log of each"
    ${launcher} --gpu "${ngpu}" JOB=1:"${probe_nj}" "${expdir}/probes/train.JOB.log" \
        ${python} -m sitok_espnet.bin.probe_sweep "${plan_opts[@]}" --ngpu "${ngpu}" --train_args "${train_args}" \
        --num_jobs "${probe_nj}" --job JOB
}

stage_6() {
    local plan_opts
    set_plan_opts
    log "scores, log: ${expdir}/probes/score.log"
    ${decode_cmd} --gpu "${inference_gpus}" "${expdir}/probes/score.log" \
        ${python} -m sitok_espnet.bin.probe_score "${plan_opts[@]}" --device "${device}"
}

stage_7() {
    local plan_opts
    set_plan_opts
    # shellcheck disable=SC2086 # options in one string
    ${python} -m sitok_espnet.bin.probe_score "${plan_opts[@]}" --table "${expdir}/probes" ${table_args}
    log "results: ${expdir}/probes/RESULTS.md"
    write_report "${expdir}/probes/report.html" "${expdir}/probes"
}

run_stages
