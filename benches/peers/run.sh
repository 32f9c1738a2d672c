#!/usr/bin/env bash
# Runs the peers, one after the other, against an in-memory node that replays recorded blocks, and prints
# one line of JSON each.
#
#   benches/peers/run.sh [PEER...]        cryo, subsquid; without a name: both
#
# Environment: SHARED, the directory with tools/ and data/ (default ../shared beside the project); BLOCKS
# (4000), to index from height 1 on; PORT (18645), on loopback; and what the peers read.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
shared=${SHARED:-$here/../../../shared}
blocks=${BLOCKS:-4000}
url=http://127.0.0.1:${PORT:-18645}
[ -f "$shared/tools/replay-rpc.mjs" ] || { echo "peers: no tools/replay-rpc.mjs in $shared: set SHARED" >&2; exit 1; }
if curl -s -m 2 -o /dev/null "$url"; then echo "peers: something listens at $url: set PORT" >&2; exit 1; fi
[ $# -gt 0 ] || set -- cryo subsquid

node "$shared/tools/replay-rpc.mjs" --data "$shared/data/evm-anvil-replay-1000" --tip "$blocks" --port "${url##*:}" >&2 &
node=$!
trap 'kill $node 2>/dev/null || true' EXIT
for _ in $(seq 300); do # it answers once it holds all blocks
    kill -0 $node 2>/dev/null || { echo "peers: the node did not start" >&2; exit 1; }
    if curl -sf -m 2 -o /dev/null "$url"; then break; fi
    sleep 0.2
done

for peer in "$@"; do
    case $peer in
        cryo) "$here/cryo.py" "$url" 1 "$blocks" ;;
        subsquid) "$here/subsquid/run.sh" "$url" 1 "$blocks" ;;
        *) echo "peers: unknown peer $peer (cryo, subsquid)" >&2; exit 2 ;;
    esac
done
