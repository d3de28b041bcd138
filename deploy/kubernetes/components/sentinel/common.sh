# shellcheck shell=sh
# Common to the scripts beside it. PEERS are the names of all servers, the first of which is the first master; SELF is one.
: "${SELF:?}" "${PEERS:?}" "${REDIS_PASSWORD:?}" "${DATA:=/data}" "${PORT:=6379}" "${SENTINEL_PORT:=26379}"
: "${MASTER:=conduit}" "${BIND:=* -::*}"
export REDISCLI_AUTH="$REDIS_PASSWORD"
# shellcheck disable=SC2034 # for the scripts that read this
first=${PEERS%% *}
say() { echo "$SELF: $*" >&2; }

# The server that most Sentinels name as the master; nothing while none of them answers.
named_master() {
    for peer in $PEERS; do
        timeout 2 redis-cli -h "$peer" -p "$SENTINEL_PORT" sentinel get-master-addr-by-name "$MASTER" 2>/dev/null |
            head -n 1
    done | while read -r name; do
        # Whatever else stands there is an error in words.
        case " $PEERS " in *" $name "*) echo "$name" ;; esac
    done | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }'
}
