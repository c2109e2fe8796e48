# shellcheck shell=bash disable=SC2034
# Where the corpora of this machine are. A relative path is relative to the recipe.

# The folder with wav/ (or dev/wav and test/wav) and veri_test2.txt or veri_test.txt.
VOXCELEB1=downloads/VoxCeleb1
