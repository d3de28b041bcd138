#!/bin/sh
# Before this server is stopped: if it is the master, a replica takes over first, and nodes are without one for a moment only.
set -eu
# shellcheck source=deploy/kubernetes/components/sentinel/common.sh
. "$(dirname "$0")/common.sh"

redis-cli -h "$SELF" -p "$PORT" role | head -n 1 | grep -qx master || exit 0
redis-cli -h "$SELF" -p "$SENTINEL_PORT" sentinel failover "$MASTER" || exit 0
# Nodes go where the Sentinels point, so from then on this one isn't needed.
waited=0
while [ "$(named_master)" = "$SELF" ] && [ "$waited" -lt 15 ]; do
    sleep 1
    waited=$((waited + 1))
done
