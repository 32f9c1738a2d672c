#!/usr/bin/env bash
# Installs what Cairn needs beside Rust, git and make, and leaves alone what is there already.
#
#   ops/setup.sh [--build] [--node] [--kafka] [--lake] [--clients] [--bench]        without a flag: --build --node
#
#   --build   Debian packages for building and testing (compiler, headers, zstd, curl, jq, python3)
#   --node    anvil, a real Ethereum node, as target/tools/anvil; from npm, with Debian's Node.js if there is none
#   --kafka   Apache Kafka itself, for ops/kafka.sh, in target/tools/kafka; with Debian's Java, Maven and kcat if there are none
#   --lake    what reads the lake's tables in tests: PyIceberg, DuckDB, Polars, Spark and a Flight SQL client, and S3 by moto, in target/tools/lake-venv; Iceberg for Spark, in target/tools/spark; Azure's Azurite, in target/tools/azurite; with Debian's venv, Java, Maven and Node.js if there are none
#   --clients what speaks to the server in tests as partners do: the npm package ws, and websockets and schemathesis of Python, in target/tools/clients; with Debian's Node.js and venv if there are none
#   --bench   Debian packages for benchmarks (wrk; PostgreSQL and venv for the peers), the readers of --lake, and chDB
#
# Works as root or with sudo on Debian 12. Elsewhere install the like of the packages below yourself and
# set CAIRN_OWN_PACKAGES=1.
#
# Exit: 0 all is there, 1 something could not be installed, 2 usage.
set -euo pipefail

readonly BUILD_PACKAGES=(clang libclang-dev cmake pkg-config libssl-dev zlib1g-dev zstd curl jq python3 ca-certificates)
readonly BENCH_PACKAGES=(wrk postgresql python3-venv)
# DuckDB's extensions fit one version of it; each comes as a package and is verified by DuckDB itself.
readonly LAKE_PACKAGES=("pyiceberg[sql-sqlite,pyarrow]==0.12.0" duckdb==1.5.5 duckdb-extension-avro==1.5.5 duckdb-extension-iceberg==1.5.5 "adbc-driver-flightsql==1.13.0" "polars==2.1.0" "moto[server]==5.2.5" pyspark==4.0.1)
readonly ICEBERG_FOR_SPARK=(iceberg-spark-runtime-4.0_2.13 1.10.0)
readonly AZURITE_VERSION=3.35.0
readonly CLIENT_PACKAGES=(websockets==17.4 schemathesis==4.32.5)
readonly WS_VERSION=8.23.0
readonly BENCH_ENGINES=("chdb==4.1.8")
readonly ANVIL_VERSION=1.7.1
readonly OLDEST_NODE=18

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root tools=$root/target/tools

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }
has() { command -v "$1" >/dev/null; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        fail "installing packages needs root or sudo; let an administrator run: apt-get install$missing"
    fi
}

# install_packages NAME...: those that are missing, by apt.
install_packages() {
    if [ -n "${CAIRN_OWN_PACKAGES:-}" ]; then return 0; fi
    has dpkg-query || fail "this is not Debian: install the like of these yourself, then set CAIRN_OWN_PACKAGES=1: $*"
    missing=
    local package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=" $package"
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    as_root "${apt[@]}" update || fail "apt-get update failed: check the network and the package sources, then run this again"
    # shellcheck disable=SC2086 # one word a package
    as_root "${apt[@]}" install -y --no-install-recommends $missing >/dev/null ||
        fail "apt-get could not install:$missing (see above); repair that, then run this again"
}

install_node() {
    has node || install_packages nodejs npm
    local major
    major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
    [ "$major" -ge "$OLDEST_NODE" ] || fail "Node.js $major is too old: install $OLDEST_NODE or newer"
    has npm || fail "Node.js is here but npm is not: install the npm that belongs to it"
}

# What of Debian's packages is missing that has these commands: COMMAND=PACKAGE...
install_commands() {
    local pair packages=()
    for pair in "$@"; do
        has "${pair%%=*}" || packages+=("${pair#*=}")
    done
    [ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"
}

install_kafka() {
    install_commands java=default-jre-headless mvn=maven kcat=kcat
    "$root/ops/kafka.sh" fetch 9>&- || fail "Kafka could not be fetched (see above)"
}

anvil_works() { [[ "$("$tools/anvil" --version 2>/dev/null)" == *"Version: $ANVIL_VERSION"* ]]; }

# The package of the platform is asked for by name. As the optional dependency that it is of
# @foundry-rs/anvil, npm would leave it out, without a word, on the Node.js 18 of Debian 12.
install_anvil() {
    if anvil_works; then return 0; fi
    install_node
    local platform npm=(npm --prefix "$tools" --ignore-scripts --no-audit --no-fund --loglevel=error)
    say "installing anvil $ANVIL_VERSION"
    case $(uname -m) in
        x86_64)
            platform=linux-amd64
            cp "$root/ops/tools/package.json" "$root/ops/tools/package-lock.json" "$tools/"
            npm+=(ci)
            ;;
        aarch64)
            platform=linux-arm64
            npm+=(install --no-save "@foundry-rs/anvil-$platform@$ANVIL_VERSION")
            ;;
        *) fail "there is no anvil for $(uname -m): run the real-node parts on x86_64 or aarch64" ;;
    esac
    "${npm[@]}" || fail "npm could not install anvil $ANVIL_VERSION: is the npm registry reachable ('npm ping')? then run this again"
    ln -sfn "node_modules/@foundry-rs/anvil-$platform/bin/anvil" "$tools/anvil"
    anvil_works || fail "anvil was installed but does not run; see what $tools/anvil --version says"
}

lake_readers_work() {
    local python=$tools/lake-venv/bin/python
    "$python" "$root/tests/independent/lake_iceberg.py" --check && "$python" -c 'import adbc_driver_flightsql, moto.server, polars, pyspark'
}

install_lake() {
    local python=$tools/lake-venv/bin/python
    if lake_readers_work 2>/dev/null; then return 0; fi
    python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3-venv
    say "installing readers of the lake"
    rm -rf "$tools/lake-venv"
    python3 -m venv "$tools/lake-venv" || fail "no virtual environment could be made: install the venv of your Python"
    "$python" -m pip --quiet --disable-pip-version-check install "${LAKE_PACKAGES[@]}" ||
        fail "pip could not install ${LAKE_PACKAGES[*]}: is the package index reachable ('pip download --no-deps pyiceberg')? then run this again"
    lake_readers_work || fail "a reader of the lake was installed but does not work (see above)"
}

# Iceberg for Spark is one jar, which Spark itself, a package of Python, does not bring.
install_spark() {
    local name=${ICEBERG_FOR_SPARK[0]} version=${ICEBERG_FOR_SPARK[1]}
    local jar=$tools/spark/$name-$version.jar
    if [ ! -s "$jar" ]; then
        install_commands java=default-jre-headless mvn=maven
        say "installing Iceberg for Spark"
        rm -rf "$tools/spark"
        mvn -q -B dependency:copy "-Dartifact=org.apache.iceberg:$name:$version" "-DoutputDirectory=$tools/spark/part" ||
            fail "Maven could not fetch $name (see above); is its repository reachable? then run this again"
        mv "$tools/spark/part/$name-$version.jar" "$jar"
    fi
    ln -sfn "$name-$version.jar" "$tools/spark/iceberg.jar"
}

install_azurite() {
    local package=$tools/azurite/node_modules/azurite/package.json
    if grep -q "\"version\": \"$AZURITE_VERSION\"" "$package" 2>/dev/null; then return 0; fi
    install_node
    say "installing Azurite $AZURITE_VERSION"
    mkdir -p "$tools/azurite"
    npm --prefix "$tools/azurite" --ignore-scripts --no-audit --no-fund --loglevel=error install --no-save "azurite@$AZURITE_VERSION" ||
        fail "npm could not install Azurite $AZURITE_VERSION: is the npm registry reachable ('npm ping')? then run this again"
}

clients_work() {
    "$tools/clients/venv/bin/python" -c 'import schemathesis, websockets' &&
        grep -q "\"version\": \"$WS_VERSION\"" "$tools/clients/node_modules/ws/package.json"
}

install_clients() {
    if clients_work 2>/dev/null; then return 0; fi
    install_node
    python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3-venv
    say "installing clients"
    rm -rf "$tools/clients"
    mkdir -p "$tools/clients"
    npm --prefix "$tools/clients" --ignore-scripts --no-audit --no-fund --loglevel=error install --no-save "ws@$WS_VERSION" ||
        fail "npm could not install ws $WS_VERSION: is the npm registry reachable ('npm ping')? then run this again"
    python3 -m venv "$tools/clients/venv" || fail "no virtual environment could be made: install the venv of your Python"
    "$tools/clients/venv/bin/python" -m pip --quiet --disable-pip-version-check install "${CLIENT_PACKAGES[@]}" ||
        fail "pip could not install ${CLIENT_PACKAGES[*]}: is the package index reachable? then run this again"
    clients_work || fail "a client was installed but does not work (see above)"
}

install_engines() {
    install_lake
    local python=$tools/lake-venv/bin/python
    if "$python" -c 'import chdb' 2>/dev/null; then return 0; fi
    say "installing the engines that the lake is measured beside"
    "$python" -m pip --quiet --disable-pip-version-check install "${BENCH_ENGINES[@]}" ||
        fail "pip could not install ${BENCH_ENGINES[*]} (see above)"
}

main() {
    local flag build='' node='' kafka='' lake='' clients='' bench=''
    [ $# -gt 0 ] || set -- --build --node
    for flag in "$@"; do
        case $flag in
            --build) build=1 ;;
            --node) node=1 ;;
            --kafka) kafka=1 ;;
            --lake) lake=1 ;;
            --clients) clients=1 ;;
            --bench) bench=1 ;;
            -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
            *) echo "setup: unknown flag $flag (--build, --node, --kafka, --lake, --clients, --bench)" >&2; exit 2 ;;
        esac
    done
    mkdir -p "$tools"
    exec 9>"$tools/.lock"
    flock 9 # two runs at once would undo each other's work
    [ -z "$build" ] || install_packages "${BUILD_PACKAGES[@]}"
    [ -z "$bench" ] || install_packages "${BENCH_PACKAGES[@]}"
    [ -z "$node" ] || install_anvil
    [ -z "$kafka" ] || install_kafka
    [ -z "$lake" ] || { install_lake && install_spark && install_azurite; }
    [ -z "$clients" ] || install_clients
    [ -z "$bench" ] || install_engines
    say "ready"
}

main "$@"
