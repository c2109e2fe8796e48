# shellcheck shell=bash
# Sourced by every script of a recipe: finds the repository and its Python environment. Recipes link to this file.

SITOK_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
while [ ! -d "${SITOK_ROOT}/sitok_espnet" ]; do
    if [ "${SITOK_ROOT}" = / ]; then
        echo "path.sh: error: no folder above $(pwd) has sitok_espnet/: a recipe must lie inside the repository" >&2
        exit 1
    fi
    SITOK_ROOT=$(dirname "${SITOK_ROOT}")
done
export SITOK_ROOT
if [[ ${SITOK_ROOT} =~ [[:space:]] ]]; then
    # The commands of cmd.sh are strings that the stages split at spaces.
    echo "path.sh: error: the path of the repository has a space, which the recipes cannot work with: ${SITOK_ROOT}" >&2
    echo "path.sh: (move or clone it to a path without one, then run: make setup)" >&2
    exit 1
fi

# An environment whose set-up was interrupted has no stamp.
if [ -f "${SITOK_ROOT}/.venv/sitok_setup.stamp" ]; then
    export VIRTUAL_ENV="${SITOK_ROOT}/.venv"
    export PATH="${VIRTUAL_ENV}/bin:${PATH}"
    export NLTK_DATA="${VIRTUAL_ENV}/nltk_data"
elif [ "${SITOK_USE_ACTIVE_PYTHON:-}" != 1 ]; then
    echo "path.sh: error: ${SITOK_ROOT}/.venv is missing or incomplete. In ${SITOK_ROOT} run: make setup" >&2
    echo "path.sh: (or set SITOK_USE_ACTIVE_PYTHON=1 if the active python3 has this package installed)" >&2
    exit 1
fi

# local/: the scripts that recipes share.
export PYTHONPATH="${SITOK_ROOT}:${SITOK_ROOT}/local${PYTHONPATH:+:${PYTHONPATH}}"
# One sorting order for the shell and Python.
export LC_ALL=C
export PYTHONIOENCODING=UTF-8
