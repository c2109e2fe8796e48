#!/usr/bin/env bash
# Understanding probes on the telephone prompts of egs2/asterisk/sitok1 (and, where it is there, egs2/fillets/sitok1):
# real speech, small probes, a CPU. Stage 2 of those recipes must have run; the tokenizer is the one of the package.
set -euo pipefail
cd "$(dirname "$0")"

./sitok_probe.sh \
    --sitok_exp asterisk_25hz \
    --inputs "mel tokens quantized continuous" \
    --nbpe 48 \
    "$@"
