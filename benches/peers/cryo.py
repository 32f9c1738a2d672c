#!/usr/bin/env python3
"""Collects a range of blocks with cryo into Parquet files in a temporary directory and prints, as JSON,
{"peer", "blocks", "txs", "logs", "seconds", "tx_per_s"}. What it wrote is counted in the files.

    benches/peers/cryo.py RPC_URL FROM TO         environment: RECEIPTS, CRYO_OPTIONS, TIMEOUT (see README)

Installs cryo into target/tools/cryo on first use; its wheel is for CPython 3.11 on x86_64 (Debian 12:
apt-get install python3-venv).
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

PACKAGES = ["cryo==0.3.2", "polars==1.41.2"]  # polars only counts the rows
VENV = pathlib.Path(__file__).resolve().parents[2] / "target" / "tools" / "cryo"
# Tuned on two cores; see README.md.
OPTIONS = {"chunk_size": 500, "max_concurrent_chunks": 2, "max_concurrent_requests": 8, "inner_request_size": 500}

# The clock runs from the first request to the last file, without Python's start and the counting.
WORKER = """
import asyncio, glob, json, sys, time
from cryo import _cryo_rust
import polars

blocks, out, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])

async def collect():
    await _cryo_rust._freeze(["blocks", "transactions", "logs"], [blocks], output_dir=out, **options)

start = time.perf_counter()
asyncio.run(collect())
seconds = time.perf_counter() - start

def rows(kind):
    files = glob.glob(f"{out}/*__{kind}__*.parquet")
    return sum(polars.scan_parquet(file).select(polars.len()).collect().item() for file in files)

txs = rows("transactions")
print(json.dumps({"peer": "cryo", "blocks": rows("blocks"), "txs": txs, "logs": rows("logs"),
                  "seconds": round(seconds, 3), "tx_per_s": int(txs / seconds)}))
"""


def install():
    """The venv's Python, with the packages in it."""
    python, mark = VENV / "bin" / "python", VENV / "installed.json"
    if not mark.exists() or json.loads(mark.read_text()) != PACKAGES:
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True, stdout=sys.stderr)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(pip, check=True, stdout=sys.stderr, timeout=600)
        mark.write_text(json.dumps(PACKAGES))
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rpc")
    parser.add_argument("first", type=int, metavar="from")
    parser.add_argument("last", type=int, metavar="to")
    args, env = parser.parse_args(), os.environ
    options = {"rpc": args.rpc, "no_verbose": True, "no_report": True, **OPTIONS}
    if env.get("RECEIPTS") == "no":
        options["exclude_columns"] = ["gas_used", "success"]
    options |= json.loads(env.get("CRYO_OPTIONS", "{}"))
    python = install()
    with tempfile.TemporaryDirectory() as out:
        work = [python, "-I", "-c", WORKER, f"{args.first}:{args.last + 1}", out, json.dumps(options)]
        return subprocess.run(work, timeout=float(env.get("TIMEOUT", 300))).returncode


if __name__ == "__main__":
    sys.exit(main())
