# shellcheck shell=bash disable=SC2034
# Where the corpora of this machine are. A relative path is relative to the recipe.

# Packages (texts and voices), and the speech that is made from them: fetched and made by stage 1 when they are not there
# (option --downloads of run.sh names another folder).
PIPER=downloads
