#!/usr/bin/env bash
# Test a checkpoint with several processes, on one machine or more.
#   tools/dist_test.sh CONFIG CHECKPOINT NPROC [test.py's flags]
# NNODES, NODE_RANK, MASTER_ADDR and PORT as for dist_train.sh.
set -euo pipefail

if [ "$#" -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT NPROC [test.py's flags]" >&2
    exit 2
fi
config=$1
checkpoint=$2
nproc=$3
shift 3

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
    "$tools_dir/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
