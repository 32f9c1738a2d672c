# shellcheck shell=bash disable=SC2154
# Part of ops/kafka.sh: what the cluster in $dir is ($nodes, $base, $sasl, $cluster), chosen at its first start.

readonly LOWEST_PORT=12000 PORT_BLOCKS=400 BLOCK=50 # all below the ports that Linux gives to clients
readonly LISTENERS=(PLAINTEXT CONTROLLER PROXIED PROXY SASL)

# lock: one command at a time changes this cluster; unlock it to wait for nodes.
lock() { { exec 9>"$dir/.lock"; } 2>/dev/null && flock 9; }
unlock() { exec 9>&-; }
all_nodes() { seq "$nodes"; }
read_cluster() { read -r nodes base sasl cluster 2>/dev/null <"$dir/cluster"; }

# check_cluster [NODE]
check_cluster() {
    read_cluster || fail "$dir holds no cluster: run ops/kafka.sh start $dir"
    [ $# -eq 0 ] || [[ $1 =~ ^[1-9]$ && $1 -le $nodes ]] || fail "$dir has no node $1, only 1 to $nodes"
}

# choose_cluster NODES BASE SASL: what is empty is as chosen before, or the default.
choose_cluster() {
    if read_cluster; then
        [ "${1:-$nodes} ${2:-$base} ${3:-$sasl}" = "$nodes $base $sasl" ] ||
            fail "$dir holds a cluster with --nodes $nodes, --port $base, SASL: $sasl; take another directory for another one"
        return 0
    fi
    nodes=${1:-1} base=$2 sasl=${3:-no} cluster=$(uuid)
    [ -n "$base" ] || choose_ports
    [ "$sasl" = no ] || cp "$home"/{server.p12,ca.pem} "$dir/"
    echo "$nodes $base $sasl $cluster" >"$dir/cluster.part"
    mv "$dir/cluster.part" "$dir/cluster"
}

# port NODE LISTENER
port() {
    local kind
    for kind in "${!LISTENERS[@]}"; do
        [ "${LISTENERS[kind]}" != "$2" ] || echo $((base + 10 * kind + $1 - 1))
    done
}

# choose_ports: the next block that is free, not any, or two clusters that begin at once might take the same.
choose_ports() {
    local block node listener taken
    exec 8<>"$home/block"
    flock 8
    read -r block <&8 || block=$RANDOM
    for _ in {1..100}; do
        block=$(((block + 1) % PORT_BLOCKS)) taken=''
        base=$((LOWEST_PORT + block * BLOCK))
        for listener in "${LISTENERS[@]}"; do
            for node in $(all_nodes); do printf -v taken '%s|%04X' "$taken" "$(port "$node" "$listener")"; done
        done
        # a number, the local and the remote address, the state (06 is a connection that is over)
        if ! grep -qsE "^ *[0-9]+: [0-9A-F]+:(${taken#|}) [0-9A-F:]+ 0[^6]" /proc/net/tcp /proc/net/tcp6; then
            echo "$block" >"$home/block"
            exec 8>&-
            return 0
        fi
    done
    fail "found no free ports: name some with --port"
}
