#!/usr/bin/env bash
# Fetches and runs Apache Kafka itself for tests, benches and trying out: KRaft, every node broker and controller.
#
#   ops/kafka.sh fetch                     Kafka's jars, by Maven, into target/tools/kafka, unless they are there
#   ops/kafka.sh start DIR [--nodes 1|3] [--port BASE] [--while PID] [--set KEY=VALUE]... [--sasl]
#                                          starts the nodes that do not run, waits until all answer, and prints the
#                                          bootstrap servers; flags left out are as at the last start in DIR
#   ops/kafka.sh stop DIR [NODE]           SIGTERM, then SIGKILL
#   ops/kafka.sh kill DIR NODE             SIGKILL
#   ops/kafka.sh restart DIR NODE          starts a node that is down, waits until it answers (not without a quorum)
#   ops/kafka.sh pid DIR NODE
#   ops/kafka.sh tool CLASS [ARGUMENT]...  one of Kafka's own tools: TopicCommand --bootstrap-server ... --list
#
#   --nodes   how many nodes, numbered from 1; without it 1
#   --port    where the nodes' ports begin; without it free ones are chosen
#   --while   stops all nodes once the process PID has gone, or DIR has
#   --set     a setting over those of ops/tools/kafka/server.properties, for the nodes started from now on
#   --sasl    one more listener, SASL_SSL with SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN: user cairn, password
#             cairn-secret, certificate authority DIR/ca.pem
#
# All listens on 127.0.0.1. DIR/node-N/ports names the ports of a node: PLAINTEXT; CONTROLLER; PROXIED, which sends its
# clients on to PROXY, where a test's proxy listens; SASL. DIR/node-N/server.log is its log.
#
# Exit: 0 done, 1 it failed, 2 usage.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # the parts use them
readonly root conf=$root/ops/tools/kafka home=$root/target/tools/kafka

say() { echo "kafka: $*" >&2; }
fail() { say "$*"; exit 1; }
usage() { say "$* (see ops/kafka.sh --help)"; exit 2; }
has() { command -v "$1" >/dev/null; }

for part in fetch cluster node watch; do
    # shellcheck source=/dev/null
    . "$conf/$part.sh"
done

start() {
    local node count='' at='' while='' secure='' settings=() servers=''
    while [ $# -gt 0 ]; do
        case $1 in
            --sasl) secure=yes; shift; continue ;;
            --nodes) [[ ${2:-} == [13] ]] || usage "--nodes takes 1 or 3"; count=$2 ;;
            --port) [[ ${2:-} =~ ^[1-9][0-9]{3,4}$ && $2 -lt 65000 ]] || usage "--port takes 1000 to 64999"; at=$2 ;;
            --while) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage "--while takes the number of a process"; while=$2 ;;
            --set) [[ ${2:-} == ?*=* ]] || usage "--set takes KEY=VALUE"; settings+=("$2") ;;
            *) usage "unknown flag $1" ;;
        esac
        shift 2
    done
    fetch
    mkdir -p "$dir"
    lock || fail "cannot write to $dir"
    choose_cluster "$count" "$at" "$secure"
    live_for "$while"
    [ ${#settings[@]} -eq 0 ] || printf '%s\n' "${settings[@]}" >"$dir/settings"
    for node in $(all_nodes); do
        start_node "$node"
        servers+=,127.0.0.1:$(port "$node" PLAINTEXT)
    done
    unlock
    for node in $(all_nodes); do await "$node"; done
    echo "${servers#,}"
}

stop() {
    lock
    if [ -n "${1:-}" ]; then
        stop_nodes "$1"
    else
        end_watchdog
        # shellcheck disable=SC2046 # one word a node
        stop_nodes $(all_nodes)
    fi
}

kill_node() {
    runs "$1" || fail "node $1 of $dir does not run"
    kill -KILL "$pid"
    while runs "$1"; do sleep 0.01; done
}

restart() {
    fetch
    lock
    still_wanted || fail "the process that $dir was started for (--while) has gone: start it anew"
    start_node "$1"
    unlock
    await "$1"
}

tool() {
    fetch
    exec java -XX:TieredStopAtLevel=1 "-Dlog4j2.configurationFile=$conf/log4j2-tools.properties" \
        -cp "$(class_path)" "org.apache.kafka.tools.$1" "${@:2}"
}

main() {
    local command=${1:-} least=2 most=2 pid
    case $command in
        -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; return ;;
        fetch) least=1 most=1 ;;
        start | tool) most=99 ;;
        stop) most=3 ;;
        kill | restart | pid) least=3 most=3 ;;
        watch) ;; # the watchdog, which ensure_watchdog starts
        *) usage "unknown command '$command'" ;;
    esac
    if [ $# -lt $least ] || [ $# -gt $most ]; then usage "$command takes other arguments"; fi
    case $command in
        fetch) fetch; return ;;
        tool) tool "${@:2}" ;;
    esac
    dir=$(realpath -m -- "$2")
    [[ $dir != *[,\\]* ]] || usage "Kafka takes no directory with a comma or a backslash"
    [ "$command" = start ] || check_cluster "${@:3}"
    case $command in
        start) start "${@:3}" ;;
        stop) stop "${@:3}" ;;
        kill) kill_node "$3" ;;
        restart) restart "$3" ;;
        watch) watch ;;
        pid) runs "$3" || fail "node $3 of $dir does not run"; echo "$pid" ;;
    esac
}

main "$@"
