#!/usr/bin/env bash
# Text to speech with a language model over the tokens of a sitok1 recipe, stage by stage; run.sh calls it.
set -euo pipefail

# ---- Options: every variable of this block is --name VALUE on the command line ----

# General
stage=1                # the first stage to run
stop_stage=8           # the last one
skip_stages=""         # stages in between to leave out, as "1 4" or 1,4
ngpu=1                 # GPUs a node for training; 0 is the CPU
num_nodes=1            # machines for training
nj=4                   # parallel jobs for statistics and scores
inference_nj=1         # parallel jobs for the token dump
gpu_inference=false    # dump, generate and vocode on the GPU
python=python3
dumpdir=dump
expdir=exp

# Data
sitok_dir=../sitok1    # the recipe with the audio (its stages 1 and 2)
train_set=train
valid_set=dev
test_sets="test"       # several: "test_clean test_other"
speed_perturb_factors="" # more training speech, faster and slower: "0.9 1.1"; the original is there in any case

# The tokenizer, frozen
tokenizer=""           # experiment (../sitok1/exp/sitok_<tag>), packed model, or name of one of the package
inference_model=""     # file in the experiment; empty: packed or best
text_tokenizer=""      # SentencePiece model, or folder of a text LM; empty: the text pieces of the tokenizer

# Language model
train_config=conf/train_lm.yaml
train_args=""          # more options for training, as "--pattern delay"
lm_tag=""              # name of the experiment; empty: from train_config, train_args and the tokenizer
lm_checkpoint=""       # file in the experiment; empty: best by the first best_model_criterion

# Generation, decoding and scores
generate_tag=""        # name of the results where generate_args or vocode_args differ: exp/lm_x/eval/<set>_<tag>
generate_args=""       # more options for speechlm_generate, as "--temperature 0.8 --max_seconds 10"
vocode_args=""         # more options for speechlm_vocode, as "--steps 16 --temperature 0.5" (of the decoder)
score_args=""          # more options for speechlm_score, as "--metrics wer sim_prompt"
report_args=""         # more options for the HTML page (sitok report), as "--utterances 10"

help_message="usage: $0 [--name VALUE ...]
$(sed -n '/^# ---- Options/,/^help_message/{/^help_message/d;s/^# ----.*/Options and their defaults:/;p}' "${BASH_SOURCE[0]}")"

run_args=$(printf '%q ' "./${0##*/}" "$@")
cd "$(dirname "$0")" # the recipe, where this script is a link
. ./path.sh
. "${SITOK_ROOT}/local/parse_options.sh"
. ./cmd.sh
. "${SITOK_ROOT}/local/stage_functions.sh"

stage_names=("" "tokens" "text and prompts" "joint vocabulary" "lengths" "language model" "generation" "vocoding"
    "scores and report")
check_numbers stage stop_stage ngpu num_nodes nj inference_nj
check_stages 8
[ $# -eq 0 ] || die "'$1' is not an option: options are --name VALUE"
[ -n "${tokenizer}" ] || die "say which tokenizer: --tokenizer EXPERIMENT (or a packed folder, or a model's name)"

# exp/sitok_<tag> and exp/sitok_<tag>/packed have the tokens dump/tokens/<tag>.
tokenizer=${tokenizer%/}
tokenizer_tag=$(basename "${tokenizer%/packed}")
tokenizer_tag=${tokenizer_tag#sitok_}
# train and its changed copies, which together are the set train_sp0.9-1.1. Every factor once, in one spelling, without 1.
for factor in ${speed_perturb_factors}; do
    if ! [[ ${factor} =~ ^[0-9]*(\.[0-9]{1,2}0*)?$ ]] || awk -v f="${factor}" 'BEGIN { exit f >= 0.5 && f <= 2 }'; then
        die "--speed_perturb_factors '${speed_perturb_factors}': '${factor}' is not a number from 0.5 to 2 of at most two \
decimals; say \"0.9 1.1\""
    fi
done
train_parts=${train_set}
speeds=""
if [ -n "${speed_perturb_factors// /}" ]; then
    # shellcheck disable=SC2086 # a list of numbers
    for factor in $(LC_ALL=C printf '%g\n' ${speed_perturb_factors} | LC_ALL=C sort -gu); do
        [ "${factor}" != 1 ] || continue
        train_parts+=" ${train_set}_sp${factor}"
        speeds+=-${factor}
    done
fi
lm_train_set=${train_set}${speeds:+_sp${speeds#-}}
if [ -z "${lm_tag}" ]; then
    lm_tag=$(basename "${train_config}" .yaml)
    lm_tag=${lm_tag#train_}
    lm_tag=${lm_tag#lm}$(name_of "${train_args}")_${tokenizer_tag}${speeds:+_sp${speeds#-}}
    lm_tag=${lm_tag#_} # conf/train_lm_mini.yaml and sitok_x make exp/lm_mini_x
fi
lm_exp=${expdir}/lm_${lm_tag}
raw=${dumpdir}/raw
tokens=${dumpdir}/tokens/${tokenizer_tag}
sets=${dumpdir}/tts/${tokenizer_tag}
joint=${dumpdir}/joint/${tokenizer_tag}
[ -z "${text_tokenizer}" ] || joint+=_$(basename "${text_tokenizer%/bpe.model}")
lm_stats=${expdir}/lm_stats_$(basename "${joint}")${speeds:+_sp${speeds#-}}
device=cpu
inference_gpus=0
if "${gpu_inference}"; then
    device=cuda
    inference_gpus=1
fi
tokenizer_opts=()
[ -z "${inference_model}" ] || tokenizer_opts=(--checkpoint "${inference_model}")
lm_opts=(--lm "${lm_exp}")
[ -z "${lm_checkpoint}" ] || lm_opts+=(--checkpoint "${lm_checkpoint}")

# results_of KIND SET: where the generated, vocoded or scored (eval) set is.
results_of() {
    echo "${lm_exp}/$1/$2${generate_tag:+_${generate_tag}}"
}

# Data of stages 4 and 5, in the array data_opts.
set_data_opts() {
    local name set
    need "${joint}/vocabulary.json" 3
    data_opts=(--vocabulary "${joint}/vocabulary.json" --text_tokenizer "${joint}/bpe.model"
        --code_vectors "${joint}/code_vectors.npz")
    for name in train valid; do
        set=${sets}/$([ "${name}" = train ] && echo "${lm_train_set}" || echo "${valid_set}")
        need "${set}/wav.scp" 2
        data_opts+=("--${name}_data_path_and_name_and_type" "${set}/text,text,text")
        data_opts+=("--${name}_data_path_and_name_and_type" "${set}/codes.scp,codes,kaldi_ark")
        data_opts+=("--${name}_data_path_and_name_and_type" "${set}/utt2spk,speaker,text")
        [ ! -f "${set}/utt2lang" ] ||
            data_opts+=("--${name}_data_path_and_name_and_type" "${set}/utt2lang,language,text")
    done
}

need_lm() {
    need_trained_in "${lm_exp}" 5 "an experiment is named after --train_config, --train_args and --tokenizer: \
give later stages the same ones, or its --lm_tag"
}

# ---- Stages ----

stage_1() {
    local set theirs
    # shellcheck disable=SC2086 # a list of names
    for set in ${train_parts} "${valid_set}" ${test_sets}; do
        if [[ " ${train_parts#"${train_set}"} " == *" ${set} "* ]]; then
            ${python} "${SITOK_ROOT}/local/perturb_speed.py" --data_dir "${raw}/${train_set}" \
                --factor "${set#"${train_set}_sp"}" --out_dir "${raw}/${set}" --nj "${nj}"
        else
            ${python} "${SITOK_ROOT}/local/tts_audio.py" --recipe "${sitok_dir}" --data_dir "dump/raw/${set}" \
                --out_dir "${raw}/${set}"
        fi
        theirs=${sitok_dir}/dump/tokens/${tokenizer_tag}/${set}
        mkdir -p "${tokens}"
        # Theirs are of the best checkpoint; whether of this very model, stage 3 checks by their hash.
        if [ -z "${inference_model}" ] && [ -s "${theirs}/manifest.json" ] &&
            [ ! "${tokenizer%/packed}/train.done" -nt "${theirs}/manifest.json" ]; then
            log "tokens of ${set}: those of ${theirs}"
            rm -rf "${tokens:?}/${set}"
            ln -s "$(realpath "${theirs}")" "${tokens}/${set}"
            continue
        fi
        [[ ${tokenizer} != */* || -d ${tokenizer} ]] || die "no tokenizer ${tokenizer}: train it (stages 1 to 7 of its \
recipe), or take one of the package: --tokenizer asterisk_12hz"
        [ ! -L "${tokens}/${set}" ] || rm "${tokens}/${set}"
        # Tokens of an earlier training are not resumed but made again.
        [ ! "${tokenizer%/packed}/train.done" -nt "${tokens}/${set}/plan.json" ] || rm -rf "${tokens:?}/${set}"
        log "tokens of ${set}, logs: ${tokens}/logs/${set}.*.log"
        ${decode_cmd} --gpu "${inference_gpus}" JOB=1:"${inference_nj}" "${tokens}/logs/${set}.JOB.log" \
            ${python} -m sitok_espnet.bin.sitok_dump --model "${tokenizer}" "${tokenizer_opts[@]}" \
            --wav_scp "${raw}/${set}/wav.scp" --output_dir "${tokens}/${set}" --device "${device}" \
            --num_jobs "${inference_nj}" --job JOB
    done
}

stage_2() {
    local set opts dirs=() dumps=()
    # shellcheck disable=SC2086
    for set in ${train_parts} "${valid_set}" ${test_sets}; do
        need "${tokens}/${set}/manifest.json" 1
    done
    for set in ${train_parts}; do
        dirs+=("${raw}/${set}")
        dumps+=("${tokens}/${set}")
    done
    [ "${lm_train_set}" = "${train_set}" ] || ${python} "${SITOK_ROOT}/local/tts_sets.py" --data_dir "${dirs[@]}" \
        --tokens "${dumps[@]}" --out_dir "${sets}/${lm_train_set}"
    # shellcheck disable=SC2086
    for set in "${train_set}" "${valid_set}" ${test_sets}; do
        opts=()
        [[ " ${test_sets} " != *" ${set} "* ]] || opts=(--prompts_from "${raw}/${train_set}" "${tokens}/${train_set}")
        ${python} "${SITOK_ROOT}/local/tts_sets.py" --data_dir "${raw}/${set}" --tokens "${tokens}/${set}" \
            --out_dir "${sets}/${set}" "${opts[@]}"
    done
}

stage_3() {
    local set dumps=() texts=() opts=()
    # shellcheck disable=SC2086
    for set in ${train_parts} "${valid_set}" ${test_sets}; do
        need "${tokens}/${set}/manifest.json" 1
        dumps+=("${tokens}/${set}")
    done
    # shellcheck disable=SC2086
    for set in "${lm_train_set}" "${valid_set}" ${test_sets}; do
        need "${sets}/${set}/text" 2
        texts+=("${sets}/${set}/text")
    done
    [ -z "${text_tokenizer}" ] || opts=(--text_tokenizer "${text_tokenizer}")
    ${python} -m sitok_espnet.bin.speechlm_vocabulary --tokens "${dumps[@]}" --tokenizer "${tokenizer}" "${tokenizer_opts[@]}" \
        --texts "${texts[@]}" "${opts[@]}" --output_dir "${joint}"
}

stage_4() {
    local data_opts
    [ -f "${train_config}" ] || die "--train_config ${train_config} does not exist"
    set_data_opts
    # shellcheck disable=SC2086 # options in one string
    collect_stats "${lm_stats}" 4 "${sets}/${lm_train_set}/wav.scp" "${sets}/${valid_set}/wav.scp" \
        sitok_espnet.bin.speechlm_train --config "${train_config}" "${data_opts[@]}" ${train_args}
}

stage_5() {
    local data_opts name
    [ -f "${train_config}" ] || die "--train_config ${train_config} does not exist"
    set_data_opts
    for name in train valid; do
        need "${lm_stats}/${name}/codes_shape" 4
        data_opts+=("--${name}_shape_file" "${lm_stats}/${name}/text_shape")
        data_opts+=("--${name}_shape_file" "${lm_stats}/${name}/codes_shape")
    done
    # shellcheck disable=SC2086 # options in one string
    train "${lm_exp}" 5 sitok_espnet.bin.speechlm_train --config "${train_config}" "${data_opts[@]}" ${train_args}
}

stage_6() {
    local set out
    need_lm
    for set in ${test_sets}; do
        need "${sets}/${set}/prompts" 2
        out=$(results_of generated "${set}")
        log "generation of ${set}, log: ${out}.log"
        # shellcheck disable=SC2086 # options in one string
        ${decode_cmd} --gpu "${inference_gpus}" "${out}.log" \
            ${python} -m sitok_espnet.bin.speechlm_generate "${lm_opts[@]}" --data_dir "${sets}/${set}" \
            --tokens "${tokens}/${set}" --output_dir "${out}" --device "${device}" ${generate_args}
        log "${set}: $(cut -d ' ' -f 2 "${out}/utt2status" | sort | uniq -c | tr -s ' \n' ' ')"
    done
}

stage_7() {
    local set out
    for set in ${test_sets}; do
        need "$(results_of generated "${set}")/generation.json" 6
        out=$(results_of vocoded "${set}")
        log "audio of ${set}, log: ${out}.log"
        # shellcheck disable=SC2086 # options in one string
        ${decode_cmd} --gpu "${inference_gpus}" "${out}.log" \
            ${python} -m sitok_espnet.bin.speechlm_vocode --tokenizer "${tokenizer}" "${tokenizer_opts[@]}" \
            --data_dir "${sets}/${set}" --generated "$(results_of generated "${set}")" --output_dir "${out}" \
            --device "${device}" ${vocode_args}
    done
}

stage_8() {
    local set out outs=() row
    need_lm
    for set in ${test_sets}; do
        for row in resynthesis generated prompt_copy; do
            need "$(results_of vocoded "${set}")/${row}/wav.scp" 7
        done
        out=$(results_of eval "${set}")
        outs+=("${out}")
        log "scores of ${set}, log: ${out}.log"
        # shellcheck disable=SC2086 # options in one string
        ${decode_cmd} --gpu "${inference_gpus}" --num_threads "${nj}" "${out}.log" \
            ${python} -m sitok_espnet.bin.speechlm_score "${lm_opts[@]}" --data_dir "${sets}/${set}" \
            --train_dir "${sets}/${lm_train_set}" --train_text "${sets}/${train_set}/text" \
            --valid_dir "${sets}/${valid_set}" \
            --generated "$(results_of generated "${set}")" --vocoded "$(results_of vocoded "${set}")" \
            --output_dir "${out}" --cache "${expdir}/scores.jsonl" --nj "${nj}" --device "${device}" ${score_args}
        show "${out}/RESULTS.md"
    done
    write_report "${lm_exp}/report.html" "${outs[@]}"
}

run_stages
