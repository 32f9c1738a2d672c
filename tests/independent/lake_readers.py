#!/usr/bin/env python3
"""Reads a lake by other means than Cairn's and compares: pyarrow, DuckDB and Polars over the Parquet files, and a
Flight SQL client.

    lake_readers.py LAKE [GRPC-URL]

Prints a JSON object: for each dataset of blocks its rows and sums, on which all readers agree. Exit: 0 they agree,
1 they do not, 2 usage.
"""

import glob
import json
import sys

import duckdb
import pyarrow.compute as pc
import pyarrow.dataset as ds

# The numbers of each dataset that are summed, and texts whose distinct values are counted.
DATASETS = {
    "blocks": (["height", "gas_used", "size", "transaction_count"], ["hash"]),
    "transactions": (["block_height", "nonce", "gas_used", "amount", "fee"], ["hash", "from_address"]),
    "logs": (["block_height", "log_index"], ["transaction_hash", "address"]),
    "token_transfers": (["block_height", "amount"], ["token_address", "to_address"]),
}


def by_pyarrow(files, sums, distincts):
    table = ds.dataset(files, format="parquet").to_table(columns=sums + distincts)
    found = {"rows": table.num_rows}
    for name in sums:
        values = [value for value in table[name].to_pylist() if value is not None]
        found[name] = str(sum(int(value) for value in values))
    for name in distincts:
        found[name] = len(pc.unique(table[name]))
    return found


def select(source, sums, distincts):
    columns = ["count(*)"]
    columns += [f"sum({name})" for name in sums]
    columns += [f"count(DISTINCT {name})" for name in distincts]
    return f"SELECT {', '.join(columns)} FROM {source}"


def of_row(row, sums, distincts):
    found = {"rows": int(row[0])}
    for name, value in zip(sums, row[1:]):
        found[name] = str(int(value or 0))
    for name, value in zip(distincts, row[1 + len(sums):]):
        found[name] = int(value)
    return found


def by_duckdb(files, sums, distincts):
    query = select(f"read_parquet({files!r}, hive_partitioning = false)", sums, distincts)
    return of_row(duckdb.sql(query).fetchone(), sums, distincts)


def by_polars(files, sums, distincts):
    import polars

    frame = polars.read_parquet(files, columns=sums + distincts, hive_partitioning=False)
    found = {"rows": frame.height}
    for name in sums:
        found[name] = str(sum(int(value) for value in frame[name].to_list() if value is not None))
    for name in distincts:
        found[name] = frame[name].n_unique()
    return found


def by_flight(url, name, sums, distincts):
    import adbc_driver_flightsql.dbapi as flight

    with flight.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(select(name, sums, distincts))
        return of_row(cursor.fetchone(), sums, distincts)


def compare(lake, url):
    agreed, wrong = {}, []
    for name, (sums, distincts) in DATASETS.items():
        with open(f"{lake}/manifest.json", encoding="utf-8") as manifest:
            listed = json.load(manifest)["files"]
        files = [f"{lake}/{file['path']}" for file in listed if file["dataset"] == name]
        if sorted(files) != sorted(glob.glob(f"{lake}/{name}/**/*.parquet", recursive=True)):
            print(f"{name}: replaced files are there, too", file=sys.stderr)
        readers = {
            "pyarrow": by_pyarrow(files, sums, distincts),
            "duckdb": by_duckdb(files, sums, distincts),
            "polars": by_polars(files, sums, distincts),
        }
        if url:
            readers["flight"] = by_flight(url, name, sums, distincts)
        agreed[name] = readers["pyarrow"]
        wrong += [
            f"{name}: {reader} reads {found}, pyarrow {agreed[name]}"
            for reader, found in readers.items()
            if found != agreed[name]
        ]
    return agreed, wrong


def tables(url):
    """What a client is told of the tables."""
    import adbc_driver_flightsql.dbapi as flight

    with flight.connect(url) as connection:
        objects = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
    return sorted(
        table["table_name"]
        for catalog in objects
        for schema in catalog["catalog_db_schemas"] or []
        for table in schema["db_schema_tables"] or []
    )


def main(arguments):
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    lake, url = arguments[0], arguments[1] if len(arguments) == 2 else None
    agreed, wrong = compare(lake, url)
    if url:
        agreed["tables"] = tables(url)
    for line in wrong:
        print(line, file=sys.stderr)
    print(json.dumps(agreed))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
