#!/bin/sh
# Starts this server as what the Sentinels say that it is.
set -eu
# shellcheck source=deploy/kubernetes/components/sentinel/common.sh
. "$(dirname "$0")/common.sh"
: "${PATIENCE:=60}" "${MAXMEMORY:=0}"

waited=0 master=''
while :; do
    master=$(named_master)
    case $master in
        '')
            # Nobody to ask. The others follow the first one, which gives the Sentinels some seconds to answer.
            if [ "$SELF" != "$first" ] || [ "$waited" -ge 5 ]; then
                master=$first
                break
            fi
            ;;
        "$SELF")
            # They haven't noticed that this one was gone. It has lost what it had, and a replica hasn't: while nothing
            # answers here, they choose one. Without a replica there is nobody to wait for.
            if [ "$waited" -ge "$PATIENCE" ]; then break; fi
            ;;
        *) break ;;
    esac
    sleep 1
    waited=$((waited + 1))
done

umask 077
cat >"$DATA/redis.conf" <<CONF
port $PORT
bind $BIND
protected-mode no
dir $DATA
requirepass "$REDIS_PASSWORD"
masterauth "$REDIS_PASSWORD"
replica-announce-ip $SELF
replica-announce-port $PORT
# Nodes assert again what they keep here; logs of ordered rooms live on in the replicas.
save ""
appendonly no
repl-diskless-sync yes
repl-diskless-sync-delay 0
maxmemory $MAXMEMORY
maxmemory-policy noeviction
client-output-buffer-limit pubsub 64mb 32mb 60
CONF
if [ "$master" != "$SELF" ]; then echo "replicaof $master $PORT" >>"$DATA/redis.conf"; fi
say "starting; the master is $master"
exec redis-server "$DATA/redis.conf"
