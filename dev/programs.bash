# Sourced by the checks in dev/ that start programs: free ports, logs, and an end by process id for all of them.
# The script names itself in $title, keeps its files in $run, and says in $patience how many seconds a program has to end.
# shellcheck shell=bash

fail() { printf '%s: %s\n' "$title" "$*" >&2; exit 1; }

# Puts the program to test into $binary: CONDUIT_BINARY, else the newer one of the built ones.
find_binary() {
    local built
    binary=${CONDUIT_BINARY:-}
    for built in .build/release/conduit .build/debug/conduit; do
        if [ -z "${CONDUIT_BINARY:-}" ] && [ -x "$built" ] && { [ -z "$binary" ] || [ "$built" -nt "$binary" ]; }; then
            binary=$built
        fi
    done
    if [ -z "$binary" ] || ! [ -x "$binary" ]; then fail "There is no built program. Run: swift build"; fi
    binary=$(realpath "$binary")
}

pids=()
names=()
# Ours and running: a number that another process has got since is left alone.
# Read once: what ends between two looks is gone in the second one, and isn't "no zombie" for that.
alive() {
    local status
    status=$(cat "/proc/$1/status" 2>/dev/null) || return 1
    grep -qx "PPid:[[:space:]]*$$" <<<"$status" && ! grep -q '^State:[[:space:]]*[ZX]' <<<"$status"
}

# Called by the traps. The last that was started ends first: nodes before their Redis.
finish() {
    local result=$? pid i log tries
    trap '' INT TERM HUP
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        pid=${pids[i]}
        if alive "$pid"; then kill -TERM "$pid" 2>/dev/null || true; fi
        for ((tries = patience * 20; tries > 0; tries--)); do alive "$pid" || break; sleep 0.05; done
        if alive "$pid"; then
            echo "${names[i]} did not end within $patience s and is killed" >&2
            kill -KILL "$pid" 2>/dev/null || true
            result=1
        fi
        wait "$pid" 2>/dev/null || true
    done
    if [ "$result" -ne 0 ]; then
        for log in "$run"/*.log; do
            [ -s "$log" ] || continue
            printf '== the end of %s\n' "$(basename "$log")" >&2
            tail -n 30 "$log" >&2
        done
    fi
    rm -rf "$run"
    exit "$result"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
declare -A taken=()
free_port() { # VARIABLE
    local port
    for _ in {1..200}; do
        port=$((20000 + RANDOM % 12000))
        if [ -z "${taken[$port]:-}" ] && ! listening "$port"; then
            taken[$port]=1
            printf -v "$1" '%d' "$port"
            return
        fi
    done
    fail "No free port found"
}

start() { # NAME COMMAND…
    local name=$1
    shift
    "$@" >"$run/$name.log" 2>&1 &
    pids+=($!)
    names+=("$name")
}

# What is set in this shell for other nodes doesn't reach these.
mapfile -t unset < <(compgen -e | grep '^CONDUIT_' || true)
start_node() { # NAME PORT ADMIN_PORT [VARIABLE=VALUE …]
    local name=$1 port=$2 admin=$3
    shift 3
    start "$name" env "${unset[@]/#/-u}" "$@" "CONDUIT_NODE_ID=$name" "CONDUIT_HTTP_PORT=$port" \
        "CONDUIT_ADMIN_PORT=$admin" "$binary" serve
}

wait_for() { # NAME PID COMMAND…: until the command succeeds; false when somebody has taken the program's port meanwhile
    local name=$1 pid=$2
    shift 2
    for _ in {1..600}; do
        if ! alive "$pid"; then
            ! grep -qE 'Address already in use|another program listens there' "$run/$name.log" || return 1
            fail "$name ended before it was ready"
        fi
        if "$@" >/dev/null 2>&1 && alive "$pid"; then return; fi
        sleep 0.1
    done
    fail "$name was not ready within 60 s"
}
thrice() { # COMMAND…: a port that was free may be taken before it is listened on
    "$@" || "$@" || "$@" || fail "$* finds no port"
}

ready_node() { # NAME PORT_VARIABLE ADMIN_VARIABLE [VARIABLE=VALUE …]: its ports go into the variables
    thrice begin_node "$@"
}
begin_node() {
    free_port "$2"
    free_port "$3"
    start_node "$1" "${!2}" "${!3}" "${@:4}"
    wait_for "$1" "${pids[-1]}" curl -fsS -m 2 "http://127.0.0.1:${!2}/ready"
}

start_redis() { thrice begin_redis; } # its port goes into REDIS_PORT
begin_redis() {
    free_port REDIS_PORT
    start redis redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --save '' --appendonly no --dir "$run"
    wait_for redis "${pids[-1]}" redis-cli -p "$REDIS_PORT" ping
}
