# shellcheck shell=bash disable=SC2034
# Where the corpora of this machine are. A relative path is relative to the recipe.

# The unpacked speech_commands_v0.02.tar.gz.
SPEECHCOMMANDS=downloads/speech_commands_v0.02
