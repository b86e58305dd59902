#!/usr/bin/env bash
# Make .venv with the pinned dependencies; do nothing where that is done already.
#
#     tools/install.sh                                (or: make install)
#     PYTHON=/opt/python3.12/bin/python3 tools/install.sh
#     TORCH_INDEX=ADDRESS tools/install.sh            (a second package index to take torch from)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$(pwd -P)
venv=.venv
stamp=$venv/.cellseg-installed
sources=(requirements-build.txt requirements.txt requirements-web.txt pyproject.toml tools/install.sh)
choices="$root ${PYTHON:-} ${TORCH_INDEX:-} ${FORCE_CUDA:-}"
wanted=$(cat "${sources[@]}" <(echo "$choices") | sha256sum)

say() { echo "install: $*" >&2; }
fail() { echo "error: $*" >&2; exit 1; }

find_python() {  # the first Python with all that is needed; otherwise what each one lacks
    local candidate report="" lacks
    local candidates=(python3.11 python3.12 python3)
    if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        if ! lacks=$("$candidate" tools/check_python.py 2>&1); then
            report+="  ${lacks:-$candidate: not found}"$'\n'
        else
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or 3.12 with venv and headers was found; say where one is with" \
        "PYTHON=/path/to/python3. Tried:"$'\n'"$report"
}

check_compiler() {
    command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null ||
        fail "no C++ compiler was found, and onedl-mmcv compiles its ops. Install one (Debian and" \
            "Ubuntu: the package g++), or name yours with CXX=/path/to/compiler."
}

check_cuda_compiler() {  # with a CUDA torch that sees a GPU, onedl-mmcv compiles CUDA ops
    "$venv/bin/python" - 2>/dev/null <<'PY' || return 0
import sys, torch
sys.exit(0 if torch.cuda.is_available() else 1)
PY
    command -v nvcc >/dev/null || [ -n "${CUDA_HOME:-}" ] ||
        fail "torch sees a GPU, but the CUDA toolkit (nvcc) that onedl-mmcv's GPU ops are compiled" \
            "with was not found. Install the toolkit of torch's CUDA version, or work on the CPU:" \
            "CUDA_VISIBLE_DEVICES= make install. See 'GPU' in README.md."
}

version_of() { "$1" -c 'import sys; print(*sys.version_info[:2])'; }

venv_is_usable() {  # made in this folder, and by the Python that was asked for
    [ -x "$venv/bin/python" ] &&
        head -n 3 "$venv/bin/pip" 2>/dev/null | grep -qF "$root/$venv/bin/python" &&
        "$venv/bin/python" tools/check_python.py >/dev/null &&
        { [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of "$venv/bin/python")" ]; }
}

make_venv() {
    local python
    if venv_is_usable; then return; fi
    python=$(find_python)
    say "making $venv with $("$python" --version 2>&1)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

install_pins() {
    say "torch and the build tools (1 of 3)"
    pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements-build.txt
    check_cuda_compiler
    say "everything else (2 of 3); compiling onedl-mmcv takes about 12 minutes on 2 cores, once"
    pip install --no-deps --no-build-isolation -r requirements.txt
    say "the page of tools/web_demo.py (3 of 3)"
    pip install --no-deps -r requirements-web.txt
    pip install --no-deps --no-build-isolation --editable .
}

mend_and_check() {
    local status=0
    "$venv/bin/python" tools/check_install.py || status=$?
    if [ $status = 4 ]; then
        say "leaving opencv-python-headless as the only OpenCV"
        pip uninstall -y opencv-python opencv-contrib-python opencv-contrib-python-headless
        pip install --force-reinstall --no-deps "$(grep -o '^opencv-python-headless==[^ ]*' requirements.txt)"
    elif [ $status = 3 ]; then
        say "building onedl-mmcv again"
        pip install --no-cache-dir --force-reinstall --no-deps --no-build-isolation \
            "$(grep -o '^onedl-mmcv==[^ ]*' requirements.txt)"
    fi
    [ $status = 0 ] || "$venv/bin/python" tools/check_install.py
}

if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -x "$venv/bin/python" ]; then
    exit 0
fi
check_compiler
make_venv
rm -f "$stamp"
install_pins
mend_and_check
echo "$wanted" >"$stamp"
say "done; the environment is $venv"
