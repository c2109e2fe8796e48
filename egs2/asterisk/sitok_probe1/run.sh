#!/usr/bin/env bash
# Understanding probes on the telephone prompts of egs2/asterisk/sitok1 (and, where it is there, egs2/fillets/sitok1):
# real speech, small probes, a CPU. Stage 2 of those recipes must have run; the tokenizer is one of theirs by default.
set -euo pipefail
cd "$(dirname "$0")"

./sitok_probe.sh \
    --sitok_exp ../sitok1/exp/sitok_rvq8_25hz_bpe512 \
    --nbpe 48 \
    "$@"
