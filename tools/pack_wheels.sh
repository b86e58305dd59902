#!/usr/bin/env bash
# Pack what a GPU machine without a network lacks: wheels, one command that installs them, and data.
#
#     tools/pack_wheels.sh .gpu
#     tools/pack_wheels.sh .gpu --data path/to/consep path/to/monuseg
#     PYTHON=/path/to/python3 tools/pack_wheels.sh .gpu       (the Python whose pip collects them)
#
# The machine is taken to have Python 3.12, torch with a torchvision that matches, and the usual
# scientific packages; docs/gpu.md lists them. Versions are those of requirements.txt. There:
#
#     bash .gpu/install.sh            into the Python that is first on PATH (or PYTHON=...)
#     bash .gpu/install.sh FOLDER     into a folder, to be named in PYTHONPATH
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

built=(onedl-mmcv onedl-mmdetection)  # published as source only; pure Python without a compiler
wheels=(onedl-mmengine addict yapf termcolor terminaltables platformdirs imaug pycocotools
    faster-coco-eval shapely safetensors imagecodecs)
platforms=(manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_24_x86_64
    manylinux_2_17_x86_64 manylinux2014_x86_64)
limit_mib=${LIMIT_MIB:-64}  # checkout and pack together, where the machine sets such a limit

say() { echo "pack_wheels: $*" >&2; }
fail() { echo "error: $*" >&2; exit 1; }

pin_of() {  # name==version, as requirements.txt has it
    grep -iom1 "^$1==[^ ;#]*" requirements.txt ||
        fail "requirements.txt pins no $1; add it there, or remove it from tools/pack_wheels.sh."
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then echo "$PYTHON"; return; fi
    if [ -x .venv/bin/python ]; then echo .venv/bin/python; else echo python3; fi
}

collect_wheels() {  # collect_wheels PYTHON FOLDER
    local pins=() name
    for name in "${wheels[@]}"; do pins+=("$(pin_of "$name")"); done
    "$1" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: \
        --python-version 3.12 --implementation cp "${platforms[@]/#/--platform=}" \
        --dest "$2" "${pins[@]}"
    pins=()
    for name in "${built[@]}"; do pins+=("$(pin_of "$name")"); done
    # Build isolation keeps torch out of the build, and without torch there is nothing to compile.
    # pip's cache may hold a wheel that was compiled.
    MMCV_WITH_OPS=0 "$1" -m pip --disable-pip-version-check wheel --quiet --no-deps \
        --no-cache-dir --wheel-dir "$2" "${pins[@]}"
    for name in "${built[@]//-/_}"; do
        compgen -G "$2/$name-*-none-any.whl" >/dev/null ||
            fail "$name was built for one platform only; unset FORCE_CUDA and run this again."
    done
}

copy_data() {  # copy_data FOLDER SOURCE...
    local target=$1 source
    shift
    for source in "$@"; do
        [ -d "$source" ] || fail "$source is not a folder; name folders of data after --data."
        rm -rf "${target:?}/$(basename "$source")"
        mkdir -p "$target"
        cp -rL "$source" "$target/"
    done
    if [ -d "$target" ]; then chmod -R u+w "$target"; fi
}

write_installer() {
    cat >"$1" <<'INSTALL'
#!/usr/bin/env bash
# Install the wheels beside this file without a network: into the running Python, or into a folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
target=()
if [ $# -gt 0 ]; then target=(--upgrade --target "$1"); fi
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' || {
    echo "error: the wheels are for Python 3.12; name one with PYTHON=/path/to/python3.12." >&2
    exit 1
}
"$python" -m pip --disable-pip-version-check install --quiet --no-index --no-deps --no-compile \
    --no-cache-dir "${target[@]}" "$here"/wheels/*.whl
if [ $# -gt 0 ]; then echo "export PYTHONPATH=$1"; fi
INSTALL
}

bytes_of() { find "$@" -type f -printf '%s\n' 2>/dev/null | awk '{sum += $1} END {print sum + 0}'; }
mib() { awk -v bytes="$1" 'BEGIN {printf "%.1f", bytes / 1048576}'; }

report_sizes() {
    local name pack tree=0 paths
    find "$1/wheels" -name '*.whl' -printf '%s %f\n' | sort -nr |
        awk '{printf "%8.2f MiB  %s\n", $1 / 1048576, $2}'
    for name in "$1"/data/*/; do
        if [ -d "$name" ]; then printf '%8s MiB  %s\n' "$(mib "$(bytes_of "$name")")" "$name"; fi
    done
    pack=$(bytes_of "$1")
    if paths=$(git ls-files --cached --others --exclude-standard 2>/dev/null) && [ -n "$paths" ]; then
        tree=$(tr '\n' '\0' <<<"$paths" | xargs -0 stat -c %s 2>/dev/null | awk '{sum += $1} END {print sum}')
    fi
    echo "$(mib "$pack") MiB in $1, $(mib "$tree") MiB in the checkout"
    [ $((pack + tree)) -le $((limit_mib * 1048576)) ] ||
        fail "together that is over $limit_mib MiB; pack less data, or set LIMIT_MIB to allow more."
}

[ $# -gt 0 ] || fail "name the folder to pack into, such as .gpu (which git ignores)."
out=$1
shift
data=()
if [ $# -gt 0 ]; then
    [ "$1" = --data ] || fail "$1 is not known; after the folder comes --data FOLDER..."
    shift
    data=("$@")
fi
python=$(find_python)
rm -rf "${out:?}/wheels"
mkdir -p "$out/wheels"
collect_wheels "$python" "$out/wheels"
copy_data "$out/data" ${data[@]+"${data[@]}"}
write_installer "$out/install.sh"
report_sizes "$out"
say "done; there: bash $out/install.sh"
