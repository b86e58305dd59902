#!/usr/bin/env bash
# Train as a slurm job, one task per GPU (GPUS_PER_NODE=0: on CPUs, NTASKS_PER_NODE tasks per node).
#   GPUS=16 GPUS_PER_NODE=8 tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [train.py's flags]
# CPUS_PER_TASK and SRUN_ARGS are passed on to srun. With SBATCH_ARGS the job is submitted with sbatch instead, and
# goes on by itself after a signal or a lost node: SBATCH_ARGS="--time=04:00:00 --signal=USR1@300"
set -euo pipefail

if [ "$#" -lt 3 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [WORK_DIR] [train.py's flags]" >&2
    exit 2
fi
partition=$1
job_name=$2
config=$3
shift 3
work_dir=()
if [ "$#" -gt 0 ] && [ "${1#-}" = "$1" ]; then
    work_dir=(--work-dir "$1")
    shift
fi

tools_dir=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$tools_dir/..${PYTHONPATH:+:$PYTHONPATH}"
gpus_per_node=${GPUS_PER_NODE:-8}
read -r -a srun_args <<<"${SRUN_ARGS:-}"
if [ "$gpus_per_node" -gt 0 ]; then
    srun_args+=("--gres=gpu:$gpus_per_node")
fi

source "$tools_dir/slurm_check.bash"
shape=(
    "--partition=$partition"
    "--job-name=$job_name"
    "--ntasks=${GPUS:-8}"
    "--ntasks-per-node=${NTASKS_PER_NODE:-$((gpus_per_node > 0 ? gpus_per_node : 1))}"
    "--cpus-per-task=${CPUS_PER_TASK:-5}"
)
check_slurm "${shape[@]}" ${srun_args[@]+"${srun_args[@]}"}
command=(
    srun "${shape[@]}" --kill-on-bad-exit=1
    ${srun_args[@]+"${srun_args[@]}"}
    "${PYTHON:-python}" -u "$tools_dir/train.py" "$config" --launcher slurm
    ${work_dir[@]+"${work_dir[@]}"} "$@"
)

if [ -n "${SBATCH_ARGS:-}" ]; then
    read -r -a sbatch_args <<<"$SBATCH_ARGS"
    if [ "$gpus_per_node" -gt 0 ]; then
        sbatch_args+=("--gres=gpu:$gpus_per_node")
    fi
    exec sbatch "${shape[@]}" --requeue --open-mode=append "${sbatch_args[@]}" \
        --wrap "$(printf '%q ' "${command[@]}")"
fi
exec "${command[@]}"
