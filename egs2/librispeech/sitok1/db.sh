# shellcheck shell=bash disable=SC2034
# Where the corpora of this machine are. A relative path is relative to the recipe.

# The folder with train-clean-100, dev-clean, test-clean and the others (openslr.org/12).
LIBRISPEECH=downloads/LibriSpeech
