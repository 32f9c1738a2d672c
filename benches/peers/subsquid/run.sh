#!/usr/bin/env bash
# Indexes a range of blocks with Subsquid's EVM processor into a PostgreSQL of its own and prints, as JSON,
# {"peer", "blocks", "txs", "logs", "seconds", "tx_per_s"}. What it wrote is counted in the database.
#
#   benches/peers/subsquid/run.sh RPC_URL FROM TO      environment: RECEIPTS, WRITER, CAPACITY, TIMEOUT (see README)
#
# Needs Node.js 18, npm and PostgreSQL (Debian: apt-get install nodejs npm postgresql). The database is made in
# a temporary directory, listens on a Unix socket there, and is gone afterwards.
set -euo pipefail

[ $# -eq 3 ] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
app=$here/../../../target/tools/subsquid
export RPC=$1 FROM=$2 TO=$3 CAPACITY=${CAPACITY:-10} WRITER=${WRITER:-bulk} RECEIPTS=${RECEIPTS:-yes}

mkdir -p "$app"
cp -r "$here/package.json" "$here/package-lock.json" "$here/lib" "$app/"
cd "$app"
if ! cmp -s package-lock.json node_modules/.installed; then
    timeout 600 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    cp package-lock.json node_modules/.installed
fi

bin=$(dirname "$(readlink -f "$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb | tail -1)")")
work=$(mktemp -d)
as=()
if [ "$(id -u)" -eq 0 ]; then # PostgreSQL refuses to run as root
    chown postgres "$work"
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
fi
server=
stop() {
    if [ -n "$server" ]; then
        kill -INT "$server" 2>/dev/null || true # fast shutdown
        for _ in $(seq 100); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
        kill -QUIT "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap stop EXIT

cd /
"${as[@]}" "$bin/initdb" -D "$work/data" -U postgres --auth=trust --encoding=UTF8 --locale=C >/dev/null
# Durable, as Cairn is: fsync and synchronous_commit stay on. The rest is for a bulk load.
"${as[@]}" "$bin/postgres" -D "$work/data" -k "$work" -c listen_addresses= -c shared_buffers=1GB \
    -c wal_level=minimal -c max_wal_senders=0 -c max_wal_size=8GB -c wal_buffers=64MB \
    -c checkpoint_timeout=30min -c autovacuum=off >"$work/log" 2>&1 &
server=$!
export DB_HOST=$work DB_PORT=5432 DB_NAME=postgres DB_USER=postgres DB_PASS=
sql() { psql -h "$work" -U postgres -qAt -F ' ' -c "$1"; }
for _ in $(seq 100); do sql 'select 1' >/dev/null 2>&1 && break; sleep 0.1; done
sql 'select 1' >/dev/null || { cat "$work/log" >&2; exit 1; }

cd "$app"
node lib/schema.js
seconds=$(timeout "${TIMEOUT:-300}" node --max-semi-space-size=64 lib/processor.js 2>"$work/processor.log") || { tail -20 "$work/processor.log" >&2; exit 1; }
read -r blocks txs logs <<<"$(sql 'select (select count(*) from block), (select count(*) from transaction), (select count(*) from log)')"
awk -v b="$blocks" -v t="$txs" -v l="$logs" -v s="$seconds" 'BEGIN {
    printf "{\"peer\":\"subsquid\",\"blocks\":%d,\"txs\":%d,\"logs\":%d,\"seconds\":%.3f,\"tx_per_s\":%d}\n", b, t, l, s, t / s }'
