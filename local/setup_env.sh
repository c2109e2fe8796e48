#!/usr/bin/env bash
# usage: local/setup_env.sh [PYTHON]
#
# Makes .venv with this package and everything it needs, or says that it is current. A stamp inside .venv, written last,
# holds a checksum of what decides its contents: an interrupted set-up has none and is gone on with the next time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${1:-python3}
stamp=.venv/sitok_setup.stamp
extras=eval,data,tts,dev

fail() {
    echo "set-up: error: $*" >&2
    exit 1
}

command -v "${python}" >/dev/null || fail "there is no ${python} on this machine: make setup PYTHON=/path/to/python3"
version=$("${python}" -c 'import sys; print(*sys.version_info[:2], sep=".")')
"${python}" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "${python} is Python ${version}, at least 3.10 is needed: make setup PYTHON=/path/to/python3"

wanted=$(cat setup.py pyproject.toml constraints.txt local/setup_env.sh <(echo "python ${version}") | cksum)
if [ -x .venv/bin/python ] && [ -f "${stamp}" ] && [ "$(cat "${stamp}")" = "${wanted}" ]; then
    echo "set-up: .venv is current"
    exit 0
fi

began=${SECONDS}
rm -f "${stamp}"
# Of another Python, or interrupted before it had pip: made anew.
if [ "$(.venv/bin/python -c 'import pip, sys; print(*sys.version_info[:2], sep=".")' 2>/dev/null)" != "${version}" ]; then
    rm -rf .venv
fi
# The tested versions need Python 3.11; an older one takes the newest that setup.py allows.
constraints=(--constraint constraints.txt)
if [ "${version}" = 3.10 ]; then
    echo "set-up: Python 3.10: constraints.txt does not apply, the newest allowed versions are taken"
    constraints=()
fi

if [ ! -d .venv ]; then
    "${python}" -m venv .venv || {
        rm -rf .venv
        fail "${python} cannot make environments (on Debian: apt-get install python3-venv)"
    }
fi

# install_with COMMAND...: this package with its requirements, then resemblyzer, whose own requirement `webrtcvad` does
# not import with today's setuptools (webrtcvad-wheels of the extra eval replaces it), and distillmos with xls-r-sqa,
# which ask for more than is used of them.
install_with() {
    "$@" "${constraints[@]}" --editable ".[${extras}]" &&
        "$@" "${constraints[@]}" --no-deps resemblyzer distillmos xls-r-sqa
}

echo "set-up: installing into .venv (downloads about 3 GB, compiles pyworld and pesq: 2 to 15 minutes)"
# uv is several times faster, but does not know pip's configuration: where it fails, pip may still succeed.
if ! command -v uv >/dev/null || ! install_with uv pip install --python .venv/bin/python; then
    install_with .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off ||
        fail "the installation failed, see above; make setup again goes on where it stopped"
fi

if ! .venv/bin/python -m pip install -qq --disable-pip-version-check --progress-bar off "${constraints[@]}" --no-deps pesq; then
    echo "set-up: pesq was not built, see above (on Debian: apt-get install gcc python3-dev): the metric is 'not run'"
fi

# ESPnet's text modules make NLTK fetch two resources when they are imported, which fails noisily without a network.
# Nothing here uses them: two empty archives in place of them keep it quiet.
.venv/bin/python - <<'EOF'
import zipfile
from pathlib import Path

for name in ("taggers/averaged_perceptron_tagger_eng.zip", "corpora/cmudict.zip"):
    path = Path(".venv/nltk_data", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    zipfile.ZipFile(path, "w").close()
EOF

echo "${wanted}" >"${stamp}.tmp"
mv "${stamp}.tmp" "${stamp}"
echo "set-up: done in $((SECONDS - began)) s"
