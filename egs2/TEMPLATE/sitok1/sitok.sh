#!/usr/bin/env bash
# The SiTok tokenizer recipe, stage by stage; a corpus' run.sh calls it with its own settings.
set -euo pipefail

# ---- Options: every variable of this block is --name VALUE on the command line ----

# General
stage=1                # the first stage to run
stop_stage=9           # the last one; uploading (10) must be asked for
skip_stages=""         # stages in between to leave out, as "6 9" or 6,9
ngpu=1                 # GPUs a node for training; 0 is the CPU
num_nodes=1            # machines for training
nj=4                   # parallel jobs for data and statistics
inference_nj=1         # parallel jobs for the token dump
gpu_inference=false    # dump and score on the GPU
python=python3
dumpdir=dump
expdir=exp

# Data
train_set=train
valid_set=dev
test_sets="test"       # several: "test_clean test_other"
downloads=""           # where local/data.sh finds its corpus; empty: what db.sh says
local_data_opts=""     # more options for local/data.sh
min_wav_duration=0.1   # seconds; training and validation only, test sets are never filtered
max_wav_duration=40

# Text pieces of the CTC branch
bpemode=unigram
nbpe=4000              # lines of the token list, <blank>, <unk> and <sos/eos> included
token_listdir=data/token_list # where the pieces go

# Statistics and training
train_config=conf/train_sitok.yaml
train_args=""          # more options for training, as "--encoder_conf num_layers=2"
sitok_tag=""           # name of the experiment; empty: from train_config, the pieces and train_args
sitok_stats_dir=""     # empty: ${expdir}/sitok_stats

# Refinement and vocoder
refine=""              # overlays, each trained from the one before: "conf/refine/decoder_finetune.yaml conf/refine/shortcut.yaml"
refine_args=""         # more options for their training, as "--max_epoch 2"
vocoder_config=""      # trains a Vocos vocoder: conf/vocoder/vocos_mini.yaml; empty: Griffin-Lim
vocoder_args=""        # more options for its training

# Tokens and scores
scored_model=""        # stages 1, 2 and 8 only: a packed model (stage 9 of any recipe), scored on test_sets; no training sets
inference_model=""     # file in the experiment; empty: best by the first best_model_criterion
steps=16               # sampler steps; empty: the default that a packed --scored_model brings
temperature=1.0        # scale of the sampler's initial noise, 1 as in training, 0 none; empty: likewise
cfg_scale=1.0          # token guidance of the row reconstruction_cfg; the other rows are unguided
synth_args=""          # more options for sitok_synth_systems, as "--seed 1"
score_args=""          # more options for sitok_score, as "--metrics stoi mel" or --judge_all
fetch_whisper=false    # true: stage 8 fetches Whisper base (140 MB), the judge of WER, where it is not at hand
peers=""               # other codecs in the score table, as "opus:6 codec2:1200 encodec:1.5 mimi:8"
peer_dir=data/local/peers # their programs and weights: PEER_DIR/codec2, PEER_DIR/mimi ...
step_curve=auto        # true, false, or auto: quality against sampler steps where --refine has a shortcut
step_curve_args=""     # more options for sitok_step_curve, as "--temperatures 0 0.5 1 --metrics mel whisper_wer distillmos"
pack_args=""           # more options for sitok_pack, as "--half --steps 4 --temperature 0"
report_args=""         # more options for the HTML page (sitok report), as "--utterances 10"

# Upload
hf_repo=""             # owner/name

help_message="usage: $0 [--name VALUE ...]
$(sed -n '/^# ---- Options/,/^help_message/{/^help_message/d;s/^# ----.*/Options and their defaults:/;p}' "${BASH_SOURCE[0]}")"

run_args=$(printf '%q ' "./${0##*/}" "$@")
cd "$(dirname "$0")" # the recipe, where this script is a link
. ./path.sh
. "${SITOK_ROOT}/local/parse_options.sh"
. ./cmd.sh
. "${SITOK_ROOT}/local/stage_functions.sh"
. "${SITOK_ROOT}/local/step_curve.sh"
. "${SITOK_ROOT}/local/peer_codecs.sh"
. "${SITOK_ROOT}/local/judge.sh"

check_numbers stage stop_stage ngpu num_nodes nj inference_nj nbpe ${steps:+steps}
[[ ${temperature:-1} =~ ^([01]?\.[0-9]+|[012]\.?|2\.0+)$ ]] ||
    die "--temperature must be a number from 0 to 2, not '${temperature}'"
[ $# -eq 0 ] || die "'$1' is not an option: options are --name VALUE"
if [ "${stage}" = 10 ] && [ "${stop_stage}" = 9 ]; then
    die "--stage 10 is after --stop_stage 9: uploading must be asked for with --stage 10 --stop_stage 10"
fi
check_stages 10 " (uploading is --stage 10 --stop_stage 10)"

if [ -n "${scored_model}" ]; then
    set_scored_model # of local/stage_functions.sh: no training sets, final_exp
fi
[ -n "${sitok_stats_dir}" ] || sitok_stats_dir=${expdir}/sitok_stats
token_dir=${token_listdir}/bpe_${bpemode}${nbpe}
train_dir=${dumpdir}/raw/${train_set}
valid_dir=${dumpdir}/raw/${valid_set}
if [ -z "${sitok_tag}" ]; then
    sitok_tag=$(basename "${train_config}" .yaml)
    sitok_tag=${sitok_tag#train_}_bpe${nbpe}
    sitok_tag=${sitok_tag#sitok_}
    sitok_tag+=$(name_of "${train_args}")
fi
sitok_exp=${expdir}/sitok_${sitok_tag}
token_dump=${dumpdir}/tokens/${sitok_tag}
device=cpu
inference_gpus=0
if "${gpu_inference}"; then
    device=cuda
    inference_gpus=1
fi
checkpoint_opts=()
[ -z "${inference_model}" ] || checkpoint_opts=(--checkpoint "${inference_model}") # of ${sitok_exp}

# Stage 6 makes refined_exps, each from the one before; stages 8 to 10 are about the last one, final_exp.
refined_exps=()
[ -z "${scored_model}" ] || sitok_exp=${expdir}/${scored_name}
final_exp=${sitok_exp}
for overlay in ${refine}; do
    find_conf "${overlay}" --refine >/dev/null
    final_exp+=_$(basename "${overlay}" .yaml) # of all overlays so far: another order is another experiment
    refined_exps+=("${final_exp}")
done
vocoder_exp=""
if [ -n "${vocoder_config}" ]; then
    find_conf "${vocoder_config}" --vocoder_config >/dev/null
    vocoder_exp=${expdir}/vocoder_$(basename "${vocoder_config}" .yaml)$(name_of "${vocoder_args}")
fi
case "${step_curve}" in
    true | false) ;;
    auto) step_curve=$([[ ${refine} == *shortcut* ]] && echo true || echo false) ;;
    *) die "--step_curve is true, false or auto, not '${step_curve}'" ;;
esac

# Transcripts are optional: a set without `text` trains everything but the CTC branch.
has_text() {
    [ -s "${train_dir}/text" ]
}

# Options about text pieces, for stages 4 and 5, in the array text_opts.
set_text_opts() {
    text_opts=(--use_preprocessor false)
    if has_text; then
        need "${token_dir}/tokens.txt" 3
        text_opts=(--use_preprocessor true --token_type bpe)
        text_opts+=(--bpemodel "${token_dir}/bpe.model" --token_list "${token_dir}/tokens.txt")
    elif [[ ${train_args} != *"--ctc null"* ]] && ! grep -qE '^ctc: *(null|~)' "${train_config}"; then
        die "${train_dir} has no transcripts: switch the CTC branch off with --train_args \"--ctc null\" (or ctc: null" \
            "in ${train_config})"
    fi
}

# need_trained [EXPERIMENT STAGE]: the tokenizer by default.
need_trained() {
    need_trained_in "${1:-${sitok_exp}}" "${2:-5}" "an experiment is named after --train_config, --train_args and --refine: \
give later stages the same ones, or its --sitok_tag"
}

# A continuous model (quantizer: identity) has no tokens: stage 7 refuses it, stage 8 scores it.
has_codes() {
    ! grep -qx "quantizer: identity" "${sitok_exp}/config.yaml"
}

# What stages 8 and 9 use: the tokenizer, all refinements and the vocoder that are configured.
need_all_trained() {
    local exp
    need_trained
    for exp in "${refined_exps[@]}" ${vocoder_exp:+"${vocoder_exp}"}; do
        need_trained "${exp}" 6
    done
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
    local set limits
    # shellcheck disable=SC2086 # a list of names
    for set in ${train_set} ${valid_set} ${test_sets}; do
        need "data/${set}/wav.scp" 1
    done
    # shellcheck disable=SC2086
    for set in ${train_set} ${valid_set} ${test_sets}; do
        limits=()
        if [ "${set}" = "${train_set}" ] || [ "${set}" = "${valid_set}" ]; then
            limits=(--min_duration "${min_wav_duration}" --max_duration "${max_wav_duration}")
        fi
        ${python} "${SITOK_ROOT}/local/check_data_dir.py" "data/${set}"
        ${python} "${SITOK_ROOT}/local/format_wav_scp.py" --fs 24000 --nj "${nj}" "${limits[@]}" \
            --in_dir "data/${set}" --out_dir "${dumpdir}/raw/${set}"
        ${python} "${SITOK_ROOT}/local/check_data_dir.py" "${dumpdir}/raw/${set}"
    done
}

stage_3() {
    need_formatted "${train_set}"
    if ! has_text; then
        log "${train_dir}/text does not exist: no text pieces, the CTC branch must be off (--ctc null)"
        return
    fi
    ${python} "${SITOK_ROOT}/local/train_sentencepiece.py" --data_dir "${train_dir}" --out_dir "${token_dir}" \
        --nbpe "${nbpe}" --model_type "${bpemode}"
}

stage_4() {
    need_formatted "${train_set}" "${valid_set}"
    [ -f "${train_config}" ] || die "--train_config ${train_config} does not exist"
    set_text_opts
    # shellcheck disable=SC2086 # options in one string
    collect_stats "${sitok_stats_dir}" 4 "${train_dir}/wav.scp" "${valid_dir}/wav.scp" sitok_espnet.bin.sitok_train \
        --config "${train_config}" "${text_opts[@]}" \
        --train_data_path_and_name_and_type "${train_dir}/wav.scp,speech,sound" \
        --valid_data_path_and_name_and_type "${valid_dir}/wav.scp,speech,sound" ${train_args}
}

# Data and lengths of a training, in the array data_opts; "text" as an argument adds the transcripts.
set_data_opts() {
    need_formatted "${train_set}" "${valid_set}"
    need "${sitok_stats_dir}/train/speech_shape" 4
    need "${sitok_stats_dir}/valid/speech_shape" 4
    local name dir
    data_opts=()
    for name in train valid; do
        dir=$([ "${name}" = train ] && echo "${train_dir}" || echo "${valid_dir}")
        data_opts+=("--${name}_data_path_and_name_and_type" "${dir}/wav.scp,speech,sound")
        if [ "${1:-}" = text ] && has_text; then
            [ -s "${dir}/text" ] || die "${train_dir}/text exists, ${dir}/text does not: make data/${valid_set}/text" \
                "(the id alone for an utterance without a transcript) and run stage 2 again; or, to train without the" \
                "CTC branch, remove ${train_dir}/text and data/${train_set}/text and add --train_args \"--ctc null\""
            data_opts+=("--${name}_data_path_and_name_and_type" "${dir}/text,text,text")
        fi
        data_opts+=("--${name}_shape_file" "${sitok_stats_dir}/${name}/speech_shape")
    done
}

# train_sitok EXPERIMENT STAGE CONFIG OPTION ...
train_sitok() {
    local exp=$1 number=$2 config=$3
    shift 3
    need "${sitok_stats_dir}/train/feats_stats.npz" 4
    set_text_opts
    set_data_opts text
    train "${exp}" "${number}" sitok_espnet.bin.sitok_train --config "${config}" "${text_opts[@]}" \
        --normalize global_mvn --normalize_conf "stats_file=${sitok_stats_dir}/train/feats_stats.npz" "${data_opts[@]}" "$@"
}

stage_5() {
    need_formatted "${train_set}" "${valid_set}"
    [ -f "${train_config}" ] || die "--train_config ${train_config} does not exist"
    # shellcheck disable=SC2086 # options in one string
    train_sitok "${sitok_exp}" 5 "${train_config}" ${train_args}
}

stage_6() {
    if [ -z "${refine}${vocoder_config}" ]; then
        log "neither --refine nor --vocoder_config is given: nothing to do"
        return
    fi
    local exp before=${sitok_exp} overlay index names=() opts=("${checkpoint_opts[@]}")
    need_formatted "${train_set}" "${valid_set}"
    read -ra names <<<"${refine}"
    for index in "${!names[@]}"; do
        exp=${refined_exps[index]}
        overlay=$(find_conf "${names[index]}" --refine)
        need_trained "${before}" "$([ "${before}" = "${sitok_exp}" ] && echo 5 || echo 6)"
        log "refinement of ${before} by ${overlay}: ${exp}"
        ${python} "${SITOK_ROOT}/local/refine.py" prepare --experiment "${before}" "${opts[@]}" \
            --overlay "${overlay}" --arguments "${refine_args}" --output_dir "${exp}"
        # shellcheck disable=SC2086
        train_sitok "${exp}" 6 "${exp}/train.yaml" ${refine_args}
        # A refinement that changed the tokens must not look finished.
        ${python} "${SITOK_ROOT}/local/refine.py" check --output_dir "${exp}" || { rm "${exp}/train.done" && exit 1; }
        before=${exp} opts=()
    done
    if [ -n "${vocoder_exp}" ]; then
        set_data_opts
        overlay=$(find_conf "${vocoder_config}" --vocoder_config)
        log "vocoder of ${overlay}: ${vocoder_exp}"
        # shellcheck disable=SC2086
        train "${vocoder_exp}" 6 sitok_espnet.bin.vocos_train --config "${overlay}" "${data_opts[@]}" ${vocoder_args}
    fi
}

stage_7() {
    local set
    # shellcheck disable=SC2086
    need_formatted "${train_set}" "${valid_set}" ${test_sets}
    need_trained
    # shellcheck disable=SC2086
    for set in "${train_set}" "${valid_set}" ${test_sets}; do
        # Tokens of an earlier training are not resumed but made again.
        [ ! "${sitok_exp}/train.done" -nt "${token_dump}/${set}/plan.json" ] || rm -rf "${token_dump:?}/${set}"
        log "tokens of ${set}, logs: ${token_dump}/logs/${set}.*.log"
        ${decode_cmd} --gpu "${inference_gpus}" JOB=1:"${inference_nj}" "${token_dump}/logs/${set}.JOB.log" \
            ${python} -m sitok_espnet.bin.sitok_dump --model "${sitok_exp}" "${checkpoint_opts[@]}" \
            --wav_scp "${dumpdir}/raw/${set}/wav.scp" --output_dir "${token_dump}/${set}" \
            --device "${device}" --num_jobs "${inference_nj}" --job JOB
    done
}

# What stage 8 scores: the last refinement, beside what it was refined from (or the tokenizer alone).
set_model_opts() {
    local exp first=${sitok_exp}${inference_model:+/${inference_model}}
    vocoder_opts=()
    [ -z "${vocoder_exp}" ] || vocoder_opts=(--vocoder vocos --vocoder_conf "path=${vocoder_exp}")
    model_opts=(--model "${final_exp}" --earlier "unrefined=${first}")
    curve_opts=(--model "${first}")
    for exp in "${refined_exps[@]}"; do
        curve_opts+=(--model "${exp}")
        [ "${exp}" = "${final_exp}" ] || model_opts+=(--earlier "${exp#"${sitok_exp}_"}=${exp}")
    done
    [ "${final_exp}" != "${sitok_exp}" ] || model_opts=(--model "${scored_model:-${sitok_exp}}" "${checkpoint_opts[@]}")
}

stage_8() {
    local set out outs=() opts tokens=()
    # shellcheck disable=SC2086
    need_formatted ${train_set} ${test_sets}
    [ -n "${scored_model}" ] || need_all_trained
    if [ -z "${scored_model}" ] && has_codes; then
        need "${token_dump}/${train_set}/manifest.json" 7
        tokens=(--train_tokens "${token_dump}/${train_set}")
    fi
    set_model_opts
    set_peer_opts
    fetch_judge
    for set in ${test_sets}; do
        out=${final_exp}/eval/${set}
        outs+=("${out}")
        opts=()
        ! has_text || opts+=(--train_text "${train_dir}/text")
        [ ! -s "data/${set}/prompt.scp" ] || opts+=(--prompts "data/${set}/prompt.scp") # another recording of each speaker
        log "resynthesis of ${set}, log: ${out}/synth.log"
        # shellcheck disable=SC2086 # options in one string
        ${decode_cmd} --gpu "${inference_gpus}" "${out}/synth.log" \
            ${python} -m sitok_espnet.bin.sitok_synth_systems "${model_opts[@]}" "${vocoder_opts[@]}" "${peer_opts[@]}" \
            --data_dir "${dumpdir}/raw/${set}" --output_dir "${out}" --device "${device}" \
            ${steps:+--steps "${steps}"} ${temperature:+--temperature "${temperature}"} \
            --cfg_scale "${cfg_scale}" ${synth_args}
        log "scores of ${set}, log: ${out}/score.log"
        # shellcheck disable=SC2086
        ${decode_cmd} --num_threads "${nj}" "${out}/score.log" \
            ${python} -m sitok_espnet.bin.sitok_score --eval_dir "${out}" --data_dir "${dumpdir}/raw/${set}" \
            "${tokens[@]}" "${opts[@]}" --cache "${expdir}/scores.jsonl" --nj "${nj}" ${score_args}
        show "${out}/RESULTS.md"
        [ -n "${scored_model}" ] || update_step_curve "${out}/steps" "${dumpdir}/raw/${set}" "${opts[@]}"
    done
    write_report "${final_exp}/report.html" "${outs[@]}"
}

stage_9() {
    local opts=()
    need_all_trained
    [ "${final_exp}" != "${sitok_exp}" ] || opts+=("${checkpoint_opts[@]}")
    [ -z "${vocoder_exp}" ] || opts+=(--vocoder "${vocoder_exp}")
    # shellcheck disable=SC2086 # options in one string
    ${python} -m sitok_espnet.bin.sitok_pack --model "${final_exp}" "${opts[@]}" --output_dir "${final_exp}/packed" \
        ${pack_args}
}

stage_10() {
    need "${final_exp}/packed/config.yaml" 9
    local command=(hf upload "${hf_repo:-OWNER/NAME}" "${final_exp}/packed" .)
    log "upload command: ${command[*]}"
    [ -n "${hf_repo}" ] || die "say where to: --hf_repo OWNER/NAME"
    [ -n "${HF_TOKEN:-}" ] || die "no credentials: export HF_TOKEN=... (an access token that may write ${hf_repo})"
    "${command[@]}"
}

stage_names=("" "data preparation" "24 kHz audio" "text pieces" "statistics" "training" "refinement and vocoder"
    "token dump" "resynthesis and scores" "packing" "upload")

run_stages
