# shellcheck shell=bash disable=SC2034
# Where the corpora of this machine are. A relative path is relative to the recipe.

# The folder with train-clean-100, dev-clean, test-clean and the others (openslr.org/60; LibriTTS-R: openslr.org/141).
LIBRITTS=downloads/LibriTTS
# Which of the two it is: LibriTTS, or LibriTTS_R (then also: LIBRITTS=downloads/LibriTTS_R).
LIBRITTS_RELEASE=LibriTTS
