# Sourced by slurm_train.sh and slurm_test.sh: ask SLURM whether it would take a job, before anything starts.
#   check_slurm SRUN_ARGUMENTS...
check_slurm() {
    local said
    if ! command -v srun >/dev/null; then
        echo "error: srun was not found; run this on a machine of the cluster." >&2
        return 1
    fi
    if ! said=$(srun --test-only "$@" true 2>&1); then
        printf '%s\n' "$said" >&2
        echo "error: SLURM does not take this job. \`sinfo -o '%P %D %c %m %G'\` lists partitions, nodes, cores, memory" \
            "and GPUs; change PARTITION, GPUS, GPUS_PER_NODE (0: no GPU), CPUS_PER_TASK or SRUN_ARGS. If munge is" \
            "named, its daemon does not run on this machine." >&2
        return 1
    fi
}
