# shellcheck shell=bash disable=SC2154
# Part of ops/kafka.sh: the process that the nodes of $dir live for, in DIR/while, and the watchdog that sees to it.

# birth PID: when it began, which tells it from a later one with its number; fails if it has ended.
birth() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # the fields behind the name
    set -- ${stat##*) }
    [ "$1" != Z ] && echo "${20}"
}

# is_wanted: whether the process that DIR/while names still lives.
is_wanted() {
    local pid began
    read -r pid began 2>/dev/null <"$dir/while" && [ "$(birth "$pid")" = "$began" ]
}

# live_for PID: what the nodes live for from now on; without a PID, what they did until now if it still lives.
live_for() {
    local began
    if [ -n "$1" ]; then
        began=$(birth "$1") || fail "--while: there is no process $1"
        echo "$1 $began" >"$dir/while.part"
        mv "$dir/while.part" "$dir/while"
    elif ! is_wanted; then
        rm -f "$dir/while"
    fi
    ensure_watchdog
}

# still_wanted: fails if the nodes had a process to live for, and it has gone.
still_wanted() {
    if [ ! -e "$dir/while" ]; then return 0; fi
    is_wanted && ensure_watchdog
}

ensure_watchdog() {
    if [ ! -e "$dir/while" ] || grep -qzsFx "$dir" "/proc/$(cat "$dir/watchdog" 2>/dev/null)/cmdline"; then return 0; fi
    (
        echo "$BASHPID" >"$dir/watchdog"
        exec setsid "$root/ops/kafka.sh" watch "$dir" 9>&-
    ) </dev/null >/dev/null 2>&1 &
}

# It looks there who the watchdog is, and goes if it is none.
end_watchdog() { [ ! -e "$dir/watchdog" ] || echo none >"$dir/watchdog"; }

# watch: remembers the pids, since DIR may go before the nodes do.
watch() {
    local node pid owner seen=()
    while is_wanted && owner=$(cat "$dir/watchdog" 2>/dev/null); do
        [ "$owner" = $$ ] || return 0
        for node in $(all_nodes); do if runs "$node"; then seen[node]=$pid; fi; done
        sleep 0.5
    done
    if lock; then
        if is_wanted; then exec "$root/ops/kafka.sh" watch "$dir" 9>&-; fi # a start has named another process
        # shellcheck disable=SC2046 # one word a node
        stop_nodes $(all_nodes)
    fi
    for node in "${!seen[@]}"; do if is_node "${seen[node]}" "$node"; then kill -KILL "${seen[node]}"; fi; done
}
