# shellcheck shell=bash disable=SC2034
# Where the corpora of this machine are. A relative path is relative to the recipe.

# The SeedTTS test sets, unpacked: the folder that has en/meta.lst and zh/meta.lst (seedtts_testset/).
SEEDTTS=downloads/seedtts_testset
