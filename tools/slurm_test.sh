#!/usr/bin/env bash
# Test a checkpoint as a slurm job; environment variables as for slurm_train.sh.
#   GPUS=8 tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [test.py's flags]
set -euo pipefail

if [ "$#" -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [test.py's flags]" >&2
    exit 2
fi
partition=$1
job_name=$2
config=$3
checkpoint=$4
shift 4

tools_dir=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$tools_dir/..${PYTHONPATH:+:$PYTHONPATH}"
gpus_per_node=${GPUS_PER_NODE:-8}
read -r -a srun_args <<<"${SRUN_ARGS:-}"
if [ "$gpus_per_node" -gt 0 ]; then
    srun_args+=("--gres=gpu:$gpus_per_node")
fi

source "$tools_dir/slurm_check.bash"
check_slurm "--partition=$partition" "--ntasks=${GPUS:-8}" "--cpus-per-task=${CPUS_PER_TASK:-5}" \
    ${srun_args[@]+"${srun_args[@]}"}
exec srun --partition="$partition" \
    --job-name="$job_name" \
    --ntasks="${GPUS:-8}" \
    --ntasks-per-node="${NTASKS_PER_NODE:-$((gpus_per_node > 0 ? gpus_per_node : 1))}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${srun_args[@]+"${srun_args[@]}"} \
    "${PYTHON:-python}" -u "$tools_dir/test.py" "$config" "$checkpoint" --launcher slurm "$@"
