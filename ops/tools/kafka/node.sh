# shellcheck shell=bash disable=SC2154
# Part of ops/kafka.sh: one node of the cluster in $dir.

readonly START_TIMEOUT=60 STOP_TIMEOUT=20 # seconds

start_node() {
    if runs "$1"; then return 0; fi
    configure "$1"
    format "$1"
    launch "$1"
}

# configure NODE: its ports and its settings.
configure() {
    local listener other node=$dir/node-$1 voters=''
    mkdir -p "$node/tmp"
    for listener in "${LISTENERS[@]}"; do
        if [ "$listener" != SASL ] || [ "$sasl" = yes ]; then echo "$listener=$(port "$1" "$listener")"; fi
    done >"$node/ports"
    for other in $(all_nodes); do voters+=,$other@127.0.0.1:$(port "$other" CONTROLLER); done
    {
        cat "$conf/server.properties"
        [ "$sasl" = no ] || cat "$conf/sasl.properties"
        settings_of "$1" "${voters#,}" $(((nodes + 1) / 2))
        cat "$dir/settings" 2>/dev/null || true
    } >"$node/server.properties"
}

# settings_of NODE VOTERS MAJORITY
settings_of() {
    local at=127.0.0.1 plain secure=''
    plain=PLAINTEXT://$at:$(port "$1" PLAINTEXT)
    [ "$sasl" = no ] || secure=,SASL://$at:$(port "$1" SASL)
    cat <<END

node.id=$1
log.dirs=$dir/node-$1/data
controller.quorum.voters=$2
listeners=$plain,CONTROLLER://$at:$(port "$1" CONTROLLER),PROXIED://$at:$(port "$1" PROXIED)$secure
advertised.listeners=$plain,PROXIED://$at:$(port "$1" PROXY)$secure
default.replication.factor=$nodes
min.insync.replicas=$3
offsets.topic.replication.factor=$nodes
transaction.state.log.replication.factor=$nodes
transaction.state.log.min.isr=$3
share.coordinator.state.topic.replication.factor=$nodes
share.coordinator.state.topic.min.isr=$3
END
}

# format NODE: what Kafka's own tool takes a second or two for; meta.properties, which makes it count, comes last.
format() {
    local data=$dir/node-$1/data
    if [ -e "$data/meta.properties" ]; then return 0; fi
    mkdir -p "$data"
    cp "$home/bootstrap.checkpoint" "$data/"
    printf '%s\n' version=1 "cluster.id=$cluster" "node.id=$1" "directory.id=$(uuid)" >"$dir/node-$1/meta.part"
    mv "$dir/node-$1/meta.part" "$data/meta.properties"
}

# launch NODE [JVM-FLAG]: the lock is let go only once the pid is written, so whoever has it next knows of this node.
launch() {
    local node=$dir/node-$1
    rm -f "$node/pid"
    (
        cd "$node" || exit
        echo "$BASHPID" >pid
        exec setsid java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData \
            -XX:+ExitOnOutOfMemoryError "${2:--XX:SharedArchiveFile=$home/classes.jsa}" -Djava.io.tmpdir="$node/tmp" \
            -Djava.net.preferIPv4Stack=true -Dlog4j2.configurationFile="$conf/log4j2.properties" \
            -cp "$(class_path)" kafka.Kafka "$node/server.properties" 8>&- 9>&-
    ) </dev/null >>"$node/out.log" 2>&1 &
}

# is_node PID NODE: whether it is the JVM of this very node, not a stranger that got the number.
is_node() { [ -n "$1" ] && grep -qzsFx "$dir/node-$2/server.properties" "/proc/$1/cmdline"; }

# runs NODE: sets pid, too.
runs() { pid=$(cat "$dir/node-$1/pid" 2>/dev/null) && is_node "$pid" "$1"; }

# await NODE: until it answers as a member of the cluster.
await() {
    local pid='' log=$dir/node-$1/server.log deadline=$((SECONDS + START_TIMEOUT))
    until runs "$1" && grep -qs "\[$pid\] .* Kafka Server started " "$log"; do
        if [ -n "$pid" ] && [ ! -d "/proc/$pid" ]; then
            grep -sE '^(Caused by: )?[a-z.]+[.][A-Za-z]+(Exception|Error): ' "$log" | tail -n 2 >&2 || true
            fail "node $1 ended while it started: see $log, and out.log beside it"
        fi
        [ $SECONDS -lt $deadline ] || fail "node $1 does not answer after $START_TIMEOUT s (do most nodes run?): see $log"
        sleep 0.05
    done
}

# stop_nodes NODE...: SIGKILL after the time, which is short without a quorum: a node would wait for that in vain.
stop_nodes() {
    local node pid left deadline=$((SECONDS + STOP_TIMEOUT)) soon=''
    for node in "$@"; do if runs "$node"; then kill "$pid" 2>/dev/null || true; fi; done
    while left=$(running "$@") && [ "$left" -gt 0 ]; do
        # shellcheck disable=SC2046 # one word a node
        if [ -z "$soon" ] && [ "$(running $(all_nodes))" -le $((nodes / 2)) ]; then
            soon=$((SECONDS + 2))
        fi
        if [ $SECONDS -ge $deadline ] || [ $SECONDS -ge "${soon:-$deadline}" ]; then
            for node in "$@"; do if runs "$node"; then kill -KILL "$pid" 2>/dev/null || true; fi; done
        fi
        sleep 0.05
    done
}

# running NODE...: how many of them run.
running() {
    local node pid count=0
    for node in "$@"; do if runs "$node"; then count=$((count + 1)); fi; done
    echo $count
}
