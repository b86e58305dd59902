#!/usr/bin/env bash
# Make .venv with the pinned dependencies; do nothing where that is done already.
#
#     tools/install.sh                                (or: make install)
#     PYTHON=/path/to/python3.12 tools/install.sh
#     TORCH_INDEX=ADDRESS tools/install.sh            (a second package index to take torch from)
#     INSTALLER=pip tools/install.sh                  (pip alone, without uv)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$(pwd -P)
venv=.venv
stamp=$venv/.cellseg-installed
torch_source=$venv/.cellseg-torch-index
sources=(requirements.txt pyproject.toml tools/install.sh)
uv_pin=uv==0.13.9  # not in requirements.txt: where it is not available, pip does
wanted=$root$'\n'$(cat "${sources[@]}")

say() { echo "install: $*" >&2; }
fail() { echo "error: $*" >&2; exit 1; }

find_python() {  # the first Python with all that is needed; otherwise what each one lacks
    local candidate report="" lacks
    local candidates=(python3.11 python3.12 python3.13 python3)
    if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        if ! lacks=$("$candidate" tools/check_python.py 2>&1); then
            report+="  ${lacks:-$candidate: not found}"$'\n'
        else
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11, 3.12 or 3.13 with venv was found; say where one is with" \
        "PYTHON=/path/to/python3. Tried:"$'\n'"$report"
}

version_of() { "$1" -c 'import sys; print(*sys.version_info[:2])'; }

is_the_one_asked_for() {  # of the version of PYTHON, with torch from TORCH_INDEX, where these are given
    { [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of "$venv/bin/python")" ]; } &&
        { [ -z "${TORCH_INDEX:-}" ] || [ "$(cat "$torch_source" 2>/dev/null)" = "$TORCH_INDEX" ]; }
}

has_compiled_ops() {  # as set-ups before version 0.2 left them, or a build by hand
    compgen -G "$venv/lib/python*/site-packages/mmcv/_ext*.so" >/dev/null
}

venv_is_usable() {  # made in this folder, as asked for, and nothing compiled
    [ -x "$venv/bin/python" ] &&
        head -n 3 "$venv/bin/pip" 2>/dev/null | grep -qF "$root/$venv/bin/python" &&
        "$venv/bin/python" tools/check_python.py >/dev/null &&
        is_the_one_asked_for && ! has_compiled_ops
}

make_venv() {
    local python
    python=$(find_python)
    say "making $venv with $("$python" --version 2>&1)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    echo "${TORCH_INDEX:-}" >"$torch_source"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

choose_installer() {  # uv takes seconds where pip takes minutes
    installer=${INSTALLER:-uv}
    if [ "$installer" = uv ] && ! pip install --quiet --no-deps "$uv_pin"; then
        say "uv is not available; pip does the work, which takes a few minutes longer"
        installer=pip
    fi
}

install() {
    if [ "$installer" = uv ]; then
        if "$venv/bin/python" tools/run_uv.py pip install "$@"; then return; fi
        say "uv failed; trying the same with pip"
        installer=pip
    fi
    pip install "$@"
}

install_pins() {
    choose_installer
    say "torch (1 of 3)"
    install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint requirements.txt torch
    say "onedl-mmcv without its compiled ops (2 of 3)"
    install --no-deps --no-cache-dir --constraint requirements.txt onedl-mmcv
    say "everything else (3 of 3)"
    install --no-deps --requirement requirements.txt --editable .
}

if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -x "$venv/bin/python" ] && is_the_one_asked_for; then
    exit 0
fi
fresh=no
venv_is_usable || { make_venv; fresh=yes; }
rm -f "$stamp"
install_pins
if ! "$venv/bin/python" tools/check_install.py --lock; then
    [ "$fresh" = no ] || exit 1
    say "making $venv again from nothing"
    make_venv
    install_pins
    "$venv/bin/python" tools/check_install.py --lock
fi
echo "$wanted" >"$stamp"
say "done; the environment is $venv"
