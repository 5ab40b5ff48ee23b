#!/usr/bin/env bash
# A Slurm cluster of this machine alone, for its tests: `one_node_slurm.sh start FOLDER`, and `stop FOLDER`.
# Needs root and Debian's slurm-wlm and munge, whose services need not run. Then: export SLURM_CONF=FOLDER/slurm.conf
set -euo pipefail
folder=$(mkdir -p "$2" && cd "$2" && pwd)
PATH=/usr/sbin:$PATH

stop() {
    for name in slurmd slurmctld munged; do
        if test -f "$folder/$name.pid"; then kill "$(cat "$folder/$name.pid")" 2>/dev/null || true; fi
        rm -f "$folder/$name.pid"
    done
}

begin() { # NAME COMMAND...: in the background, with a log and its process's number in the folder
    local name=$1
    shift
    "$@" >"$folder/$name.log" 2>&1 &
    echo $! >"$folder/$name.pid"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start() {
    mkdir -p "$folder/state" "$folder/spool"
    test -f "$folder/munge.key" || (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
    chmod 755 "$folder"
    local memory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 8 / 10)) node
    node=$(hostname -s)
    cat >"$folder/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge.socket
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmctldPidFile=$folder/state/slurmctld.pid
SlurmdPidFile=$folder/state/slurmd.pid
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MpiDefault=none
KillWait=5
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF=$folder/slurm.conf
    begin munged munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
        --pid-file="$folder/state/munged.pid" --log-file="$folder/state/munged.log" --seed-file="$folder/state/munged.seed"
    until test -S "$folder/munge.socket"; do alive munged; sleep 0.1; done
    begin slurmctld slurmctld -D
    begin slurmd slurmd -D
    until sinfo --noheader --format=%T 2>/dev/null | grep -q idle; do alive slurmctld; alive slurmd; sleep 0.2; done
    echo "export SLURM_CONF=$SLURM_CONF"
}

alive() { kill -0 "$(cat "$folder/$1.pid")" || { tail -n 5 "$folder/$1.log" >&2; stop; exit 1; }; }

case $1 in
start) start ;;
stop) stop ;;
*) echo "say start or stop" >&2 && exit 2 ;;
esac
