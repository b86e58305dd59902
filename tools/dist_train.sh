#!/usr/bin/env bash
# Train with several processes, on one machine or more.
#   tools/dist_train.sh CONFIG NPROC [train.py's flags]
# Several machines, one call on each: NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 PORT=29500 tools/dist_train.sh ...
# NPROC is the number of processes on this machine: one a GPU, or any number without GPUs.
set -euo pipefail

if [ "$#" -lt 2 ]; then
    echo "usage: $0 CONFIG NPROC [train.py's flags]" >&2
    exit 2
fi
config=$1
nproc=$2
shift 2

tools_dir=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$tools_dir/..${PYTHONPATH:+:$PYTHONPATH}"
cores=$(nproc)
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores / nproc > 0 ? cores / nproc : 1))}"

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$nproc" \
    "$tools_dir/train.py" "$config" --launcher pytorch "$@"
