# shellcheck shell=bash disable=SC2034
# Where the data of the tokenizer recipes are (their dump/raw, stage 2). Relative paths are relative to the recipe.

ASTERISK=../sitok1/dump/raw
FILLETS=../../fillets/sitok1/dump/raw # not there: verification has the four Asterisk voices only
