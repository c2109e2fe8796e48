# shellcheck shell=bash disable=SC2034
# Where the corpora of this machine are. A relative path is relative to the recipe.

# The folder with Session1 to Session5 (licensed by sail.usc.edu/iemocap).
IEMOCAP=downloads/IEMOCAP_full_release
