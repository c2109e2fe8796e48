# shellcheck shell=bash disable=SC2154
# Sourced by the stage scripts of all recipes, after their options, path.sh and cmd.sh. They set run_args (the command
# that started them, quoted), stage, stop_stage, skip_stages, stage_names, expdir, dumpdir, nj, ngpu, num_nodes, python
# and report_args.

log() {
    printf '%(%Y-%m-%dT%H:%M:%S)T (%s:%d) %s\n' -1 "${BASH_SOURCE[1]##*/}" "${BASH_LINENO[0]}" "$*"
}

die() {
    printf '%(%Y-%m-%dT%H:%M:%S)T (%s:%d) error: %s\n' -1 "${BASH_SOURCE[1]##*/}" "${BASH_LINENO[0]}" "$*" >&2
    exit 1
}

# check_numbers OPTION ...: each must be a whole number.
check_numbers() {
    local number
    for number in "$@"; do
        [[ ${!number} =~ ^[0-9]{1,9}$ ]] || die "--${number} must be a whole number, not '${!number}'"
        printf -v "${number}" '%d' "$((10#${!number}))" # 08 is eight, not a bad octal number
    done
}

# check_stages LAST [HINT]: stage and stop_stage must be within 1 and LAST; skip_stages go into `skipped`.
check_stages() {
    local number last=$1 some="$((($1 + 2) / 2)) $(($1 - 1))" # an example
    skipped=" "
    for number in ${skip_stages//,/ }; do
        if [[ ! ${number} =~ ^[0-9]{1,2}$ ]] || ((10#${number} < 1 || 10#${number} > last)); then
            die "--skip_stages are numbers from 1 to ${last}, as \"${some}\" or ${some/ /,}, not '${number}'"
        fi
        skipped+="$((10#${number})) "
    done
    if ((stage < 1 || stage > stop_stage || stop_stage > last)); then
        die "no stages from ${stage} to ${stop_stage}: 1 <= --stage <= --stop_stage <= ${last} is needed${2:-}"
    fi
}

# cpu_seconds: the processor time of all commands that have ended so far, on this machine, into cpu_used.
cpu_seconds() {
    local file=${expdir}/.times.$$
    times >"${file}" # not through a pipe: it would be another shell's
    cpu_used=$(awk -F'[ms ]' 'NR == 2 { printf "%.0f", 60 * $1 + $2 + 60 * $4 + $5 }' "${file}")
    rm -f "${file}"
}

# run_stages: call the functions stage_N of all stages that were asked for, and keep their seconds, by the clock and of
# the processor (with slurm the latter is spent elsewhere and not seen).
run_stages() {
    local number began worked summary=()
    mkdir -p "${expdir}"
    for ((number = stage; number <= stop_stage; number++)); do
        [[ ${skipped} != *" ${number} "* ]] || continue
        log "stage ${number}: ${stage_names[number]}"
        began=${SECONDS}
        cpu_seconds
        worked=${cpu_used}
        "stage_${number}"
        cpu_seconds
        worked=$((cpu_used - worked))
        log "stage ${number}: done in $((SECONDS - began)) s"
        summary+=("$(printf '%9d %8d %8d  %s' "${number}" "$((SECONDS - began))" "${worked}" "${stage_names[number]}")")
        printf '%d\t%d\t%s\t%d\n' "${number}" "$((SECONDS - began))" "${stage_names[number]}" "${worked}" \
            >>"${expdir}/stage_seconds.tsv"
    done
    if [ "${#summary[@]}" -gt 1 ]; then
        log "seconds per stage:"
        printf '    stage  seconds      CPU\n'
        printf '%s\n' "${summary[@]}"
    fi
}

# need FILE STAGE: the file must be there and not empty; if not, say which stage makes it.
need() {
    [ -s "$1" ] || die "$1 is missing: run stage $2 first"
}

# need_formatted SET ...: what stage 2 makes of them.
need_formatted() {
    local set
    for set in "$@"; do
        need "${dumpdir}/raw/${set}/wav.scp" 2
    done
}

# find_conf FILE OPTION: prints where a YAML is: in the recipe, or else in the repository.
find_conf() {
    local place
    for place in "$1" "${SITOK_ROOT}/$1"; do
        [ ! -f "${place}" ] || { echo "${place}" && return; }
    done
    die "$2 $1 does not exist, neither in the recipe nor in the repository's root"
}

# name_of OPTIONS: what they add to the name of an experiment: "--encoder_conf num_layers=2" is _encoder_confnum_layers2
name_of() {
    printf '%s' "$1" | sed -e 's/--/_/g' -e 's/[^A-Za-z0-9_.,+-]//g'
}

# split_scp FILE PREFIX N: contiguous parts PREFIX.1.scp ... PREFIX.N.scp; none is empty while N <= lines.
split_scp() {
    awk -v parts="$3" -v prefix="$2" -v lines="$(wc -l <"$1")" \
        '{ print > (prefix "." int((NR - 1) * parts / lines) + 1 ".scp") }' "$1"
}

# write_run_sh FILE STAGE: a script that runs this stage again with the same options and environment.
write_run_sh() {
    {
        printf '#!/usr/bin/env bash\n# Runs stage %d again (a training resumes); options after it win.\n' "$2"
        printf 'export cmd_backend=%q\n' "${cmd_backend}"
        [ -z "${SITOK_USE_ACTIVE_PYTHON+set}" ] ||
            printf 'export SITOK_USE_ACTIVE_PYTHON=%q\n' "${SITOK_USE_ACTIVE_PYTHON}"
        printf 'cd %q && %s--stage %d --stop_stage %d "$@"\n' "${PWD}" "${run_args}" "$2" "$2"
    } >"$1.new"
    chmod +x "$1.new"
    mv -f "$1.new" "$1" # never written in place: bash may be reading the old one, which started this
}

# train EXPERIMENT STAGE MODULE OPTION ...: train or resume; EXPERIMENT/train.done says that it has ended, and when.
train() {
    local exp=$1 number=$2 module=$3 launcher=${cuda_cmd} done_file=$1/train.done follower
    shift 3
    [ "${ngpu}" -gt 0 ] || launcher=${train_cmd}
    if [ "${ngpu}" -gt 0 ] && [ "${cmd_backend}" = local ] && ! command -v nvidia-smi >/dev/null; then
        die "no GPU is found on this machine: --ngpu 0 trains on the CPU (or choose another machine with cmd_backend=slurm)"
    fi
    mkdir -p "${exp}"
    # An interrupted training must not look finished; the old time stays for a training that has nothing to add.
    [ ! -e "${done_file}" ] || mv "${done_file}" "${done_file}.before"
    write_run_sh "${exp}/run.sh" "${number}"
    log "training; to follow it: tail -f ${PWD}/${exp}/train.log"
    # A line an epoch, of the log that is to come: the launcher renames an earlier one.
    "${SITOK_ROOT}/local/follow_training.py" "${exp}/train.log" $$ "$(stat -c %d:%i "${exp}/train.log" 2>/dev/null)" &
    follower=$!
    # shellcheck disable=SC2086 # options in one string
    ${python} -m espnet2.bin.launch --cmd "${launcher}" --log "${exp}/train.log" \
        --ngpu "${ngpu}" --num_nodes "${num_nodes}" --init_file_prefix "${exp}/.dist_init_" \
        --multiprocessing_distributed true -- \
        ${python} -m "${module}" --resume true --output_dir "${exp}" "$@"
    kill "${follower}" 2>/dev/null || true # it reads to the end first
    wait "${follower}" || true
    # DeepSpeed leaves a folder an epoch, and no weights that anything else reads.
    ! compgen -G "${exp}/checkpoint_*/latest" >/dev/null || ${python} -m sitok_espnet.bin.deepspeed_weights "${exp}"
    if [ -e "${done_file}.before" ] && [ -z "$(find "${exp}" -maxdepth 1 -name "checkpoint*" -newer "${done_file}.before")" ]; then
        mv "${done_file}.before" "${done_file}" # nothing was trained: what was made of it is still good
    else
        date +%Y-%m-%dT%H:%M:%S >"${done_file}"
        rm -f "${done_file}.before"
    fi
}

# collect_stats STATS STAGE TRAIN_LIST VALID_LIST MODULE OPTION ...: lengths, and statistics of what the model collects, in
# nj jobs; the lists give the utterances. STATS appears whole, and has the configuration with it.
collect_stats() {
    local stats=$1 number=$2 train_list=$3 valid_list=$4 module=$5 logdir=$1.logs jobs=${nj} lines job list merged=()
    shift 5
    rm -rf "${logdir}" "${stats}.tmp"
    mkdir -p "${logdir}"
    for list in "${train_list}" "${valid_list}"; do
        lines=$(wc -l <"${list}")
        jobs=$((lines < jobs ? lines : jobs))
    done
    split_scp "${train_list}" "${logdir}/train" "${jobs}"
    split_scp "${valid_list}" "${logdir}/valid" "${jobs}"

    write_run_sh "${logdir}/run.sh" "${number}"
    log "logs: ${logdir}/stats.*.log"
    # shellcheck disable=SC2086 # python may be a command with options
    ${train_cmd} JOB=1:"${jobs}" "${logdir}/stats.JOB.log" \
        ${python} -m "${module}" --collect_stats true --ngpu 0 \
        --train_shape_file "${logdir}/train.JOB.scp" --valid_shape_file "${logdir}/valid.JOB.scp" \
        --output_dir "${logdir}/stats.JOB" "$@"
    for ((job = 1; job <= jobs; job++)); do
        merged+=(--input_dir "${logdir}/stats.${job}")
    done
    ${python} -m espnet2.bin.aggregate_stats_dirs "${merged[@]}" --output_dir "${stats}.tmp"
    # With it the statistics say which model they are of.
    cp "${logdir}/stats.1/config.yaml" "${stats}.tmp/config.yaml"
    rm -rf "${stats}"
    mv "${stats}.tmp" "${stats}"
}

# need_trained_in EXPERIMENT STAGE HINT: a training that has ended.
need_trained_in() {
    [ -s "$1/config.yaml" ] || die "$1/config.yaml is missing: run stage $2 first ($3)"
    [ -e "$1/train.done" ] || die "$1 is not finished: run stage $2 first, it resumes where it" \
        "stopped (to go on with the best checkpoint so far: touch $1/train.done)"
}

# show FILE: a page of results, with where it is.
show() {
    log "results: $1"
    cat "$1"
}

# write_report PAGE PATH ...: experiments, evaluations or probes as one HTML page. Uses report_args.
write_report() {
    # shellcheck disable=SC2086 # options in one string
    ${python} -m sitok_espnet.bin.main report "${@:2}" --output "$1" ${report_args}
    log "report: $1 (open it in a browser)"
}

# set_scored_model: --scored_model in place of a training: no training sets, stages 1, 2 and 8 only, and scored_name, after
# which the folder of its scores is called.
set_scored_model() {
    local number
    [ -f "${scored_model}/config.yaml" ] || die "--scored_model ${scored_model}: no config.yaml there; it is a packed model" \
        "(stage 9 of the recipe that trained it), as ../../mini_asterisk/sitok1/exp/sitok_mini_25hz_bpe256/packed"
    [ -z "${refine}${vocoder_config}" ] || die "--refine and --vocoder_config train something: --scored_model has it packed"
    for ((number = stage; number <= stop_stage; number++)); do
        [[ " 1 2 8 " == *" ${number} "* || ${skipped} == *" ${number} "* ]] ||
            die "stage ${number} trains or packs: with --scored_model there are stages 1, 2 and 8 (--skip_stages leaves others out)"
    done
    # shellcheck disable=SC2034 # read by the stages
    train_set="" valid_set=""
    scored_name=$(realpath "${scored_model}")
    scored_name=${scored_name%/packed}
    scored_name=${scored_name##*/}
}
