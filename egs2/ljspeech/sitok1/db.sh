# shellcheck shell=bash disable=SC2034
# Where the corpora of this machine are. A relative path is relative to the recipe.

# The folder with metadata.csv and wavs/ (keithito.com/LJ-Speech-Dataset).
LJSPEECH=downloads/LJSpeech-1.1
