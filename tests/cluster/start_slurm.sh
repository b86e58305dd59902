#!/usr/bin/env bash
# Start a SLURM of two nodes on this machine, for tests: one controller, two node daemons, munge, all
# on the loopback interface. It needs Debian's slurm-wlm and munge, and root.
#   start_slurm.sh FOLDER      start; FOLDER/slurm.conf is then the value of SLURM_CONF
#   start_slurm.sh FOLDER stop end what was started, by its process numbers
# Jobs of the partition urgent take the nodes of those of debug, which get SIGTERM two minutes before.
set -euo pipefail

folder=$(mkdir -p "$1" && cd "$1" && pwd)
pids=$folder/pids
tag="# of start_slurm.sh in $folder;"

drop_names() {
    grep -qF "$tag" /etc/hosts || return 0
    local kept
    kept=$(grep -vF "$tag" /etc/hosts || true)
    printf '%s\n' "$kept" >/etc/hosts  # containers mount it, so that it cannot be replaced
}

stop() {
    [ -f "$pids" ] || return 0
    # node daemons first: they end their jobs
    tac "$pids" | while read -r pid; do
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null || true
    done
    rm -f "$pids"
    drop_names
}

if [ "${2:-start}" = stop ]; then
    stop
    exit 0
fi

for program in slurmctld slurmd munged scontrol; do
    command -v "$program" >/dev/null || { echo "error: $program is missing; install slurm-wlm and munge" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "error: only root can start node daemons" >&2; exit 1; }

wait_for() {  # wait_for SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { echo "error: gave up waiting for: $*" >&2; return 1; }
        sleep 0.1
    done
}

: >"$pids"
trap 'stop' ERR

# Node names must resolve. The lines of another start go with it, so they do not count.
for node in n1 n2; do
    if ! getent hosts "$node" >/dev/null || grep -q " $node # of start_slurm.sh" /etc/hosts; then
        echo "127.0.0.1 $node $tag" >>/etc/hosts
    fi
done

chmod 755 "$folder"
mkdir -p "$folder/state" "$folder/munge"
chmod 711 "$folder/munge"
head -c 1024 /dev/urandom >"$folder/munge/key"
chmod 600 "$folder/munge/key"
munged --force --key-file "$folder/munge/key" --socket "$folder/munge/socket" \
    --pid-file "$folder/munge/pid" --log-file "$folder/munge/log" --seed-file "$folder/munge/seed"
wait_for 20 test -s "$folder/munge/pid"
printf '%s\n' "$(cat "$folder/munge/pid")" >>"$pids"

base=${SLURM_TEST_PORT:-17000}
cores=$(nproc)
memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
cat >"$folder/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=10
CredType=cred/munge
SlurmctldPort=$base
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmdLogFile=$folder/slurmd.%n.log
SlurmdSpoolDir=$folder/spool.%n
StateSaveLocation=$folder/state
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0,defer
ReturnToService=2
JobRequeue=1
KillWait=30
MinJobAge=300
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeAddr=127.0.0.1 Port=$((base + 1)) CPUs=$cores RealMemory=$memory State=UNKNOWN
NodeName=n2 NodeAddr=127.0.0.1 Port=$((base + 2)) CPUs=$cores RealMemory=$memory State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=1 GraceTime=120
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=2 PreemptMode=OFF
CONF
export SLURM_CONF=$folder/slurm.conf

slurmctld -c
wait_for 20 test -s "$folder/slurmctld.pid"
printf '%s\n' "$(cat "$folder/slurmctld.pid")" >>"$pids"
for node in n1 n2; do
    mkdir -p "$folder/spool.$node"
    slurmd -c -N "$node"
    wait_for 20 test -s "$folder/slurmd.$node.pid"
    printf '%s\n' "$(cat "$folder/slurmd.$node.pid")" >>"$pids"
done
wait_for 60 sh -c '[ "$(timeout 5 sinfo --noheader --Node --partition=debug --states=idle | wc -l)" = 2 ]'
echo "SLURM_CONF=$SLURM_CONF"
