#!/bin/sh
# Before this server is stopped: if it is the master, a replica takes over first, and nothing that was acknowledged is lost.
set -eu
# shellcheck source=deploy/kubernetes/components/sentinel/common.sh
. "$(dirname "$0")/common.sh"

ask() { redis-cli -h "$SELF" -p "$PORT" "$@"; }
# Whether every replica that is connected has all that was written here.
is_copied() {
    ask info replication | tr -d '\r' | awk -F '[:,=]' '
        /^slave[0-9]+:/ { for (i = 1; i < NF; i++) if ($i == "offset") offsets[$(i + 1)] }
        /^master_repl_offset:/ { written = $2 }
        END { for (offset in offsets) if (offset != written) exit 1 }'
}

ask role | head -n 1 | grep -qx master || exit 0
# Replication is asynchronous: what is written after the replica was chosen would be lost with this server. So writes wait.
ask client pause 15000 write >/dev/null
waited=0
until is_copied || [ "$waited" -ge 20 ]; do
    sleep 0.1
    waited=$((waited + 1))
done
# The others are asked: the Sentinel beside this server was told to stop in the same moment as this script was started.
handed_over=
for peer in $PEERS; do
    if [ "$peer" != "$SELF" ] &&
        timeout 2 redis-cli -h "$peer" -p "$SENTINEL_PORT" sentinel failover "$MASTER" 2>/dev/null | grep -qx OK; then
        handed_over=$peer
        break
    fi
done
if [ -z "$handed_over" ]; then
    say "the Sentinels have no other master"
    ask client unpause >/dev/null
    exit 0
fi
# Nodes go where the Sentinels point, so from then on this one isn't needed.
waited=0
while [ "$(named_master)" = "$SELF" ] && [ "$waited" -lt 15 ]; do
    sleep 1
    waited=$((waited + 1))
done
