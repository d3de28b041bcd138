#!/bin/sh
# Starts a Sentinel that watches the master that the other Sentinels know, at first the first server.
set -eu
# shellcheck source=deploy/kubernetes/components/sentinel/common.sh
. "$(dirname "$0")/common.sh"

# Sentinel writes what it learns into its file, which is still there when only the container was restarted.
if [ ! -s "$DATA/sentinel.conf" ]; then
    watched=$(named_master)
    watched=${watched:-$first}
    # An unknown name would end it.
    until getent hosts "$watched" >/dev/null; do sleep 1; done
    umask 077
    # Its id is its name's, so that after a restart it is not one Sentinel more.
    cat >"$DATA/sentinel.conf" <<CONF
port $SENTINEL_PORT
bind $BIND
protected-mode no
dir $DATA
requirepass "$REDIS_PASSWORD"
sentinel myid $(printf %s "$SELF" | sha1sum | cut -c 1-40)
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $SELF
sentinel announce-port $SENTINEL_PORT
sentinel monitor $MASTER $watched $PORT $(($(echo "$PEERS" | wc -w) / 2 + 1))
sentinel auth-pass $MASTER $REDIS_PASSWORD
sentinel down-after-milliseconds $MASTER ${DOWN_AFTER:-5000}
sentinel failover-timeout $MASTER 15000
sentinel parallel-syncs $MASTER 2
CONF
    say "the Sentinel watches $watched"
fi
exec redis-server "$DATA/sentinel.conf" --sentinel
