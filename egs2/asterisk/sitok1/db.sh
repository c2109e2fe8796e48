# shellcheck shell=bash disable=SC2034
# Where the corpora of this machine are. A relative path is relative to the recipe.

# Debian packages of the Asterisk prompts: fetched by stage 1 when they are not there (option --downloads of sitok.sh
# names another folder).
ASTERISK=downloads
