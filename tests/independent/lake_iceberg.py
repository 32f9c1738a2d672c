#!/usr/bin/env python3
"""Opens the Iceberg tables of a lake without Cairn's code, and compares them with the lake's files.

    lake_iceberg.py LAKE CATALOG [--namespace NAME]
    lake_iceberg.py --check

LAKE     the directory of a lake: its manifest.json says which files are complete
CATALOG  the SQLite file of its catalog
--check  only says whether the packages are there that it needs

What is compared, for every dataset with complete files: number of rows, of nulls and of distinct
values of every column, and the sum of every column of numbers. It is worked out four times:
    pyarrow   over the files themselves, one by one, as the manifest lists them (what is expected)
    pyiceberg a scan of the table, opened through the catalog
    path      a scan of the table, opened through version-hint.text and v<N>.metadata.json
    duckdb    iceberg_scan of the table's directory; LOADs the extensions avro and iceberg that the
              packages duckdb-extension-* hold, which DuckDB verifies to be its own
Besides: the list of files, the bounds in the metadata against the values (none lies outside), a scan
that filters by chain, and that no table has no dataset.

Answers JSON on stdout. Exit: 0 all agree, 1 they do not (see `problems`), 2 usage or a package is missing.
"""

import argparse
import glob
import json
import os
import sys

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.conversions import from_bytes
    from pyiceberg.expressions import EqualTo
    from pyiceberg.table import StaticTable
except ImportError as error:
    print(f"lake_iceberg: {error}: run ops/setup.sh --lake", file=sys.stderr)
    sys.exit(2)


def complete_files(lake):
    """Paths of complete files, by dataset."""
    with open(os.path.join(lake, "manifest.json"), encoding="utf-8") as manifest:
        files = json.load(manifest)["files"]
    complete = {}
    for file in files:
        if file["complete"]:
            complete.setdefault(file["dataset"], []).append(os.path.join(lake, file["path"]))
    return complete


def is_number(kind):
    return pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def column_figures(values, kind):
    """Nulls, distinct values and, of numbers, the sum. Sums are Python's: no column is too narrow."""
    present = [value for value in values if value is not None]
    figures = {"nulls": len(values) - len(present), "distinct": len(set(present))}
    if is_number(kind):
        figures["sum"] = str(sum(int(value) for value in present))
    return figures


def figures(table):
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        columns[name] = column_figures(column.to_pylist(), column.type)
    return {"rows": table.num_rows, "columns": columns}


def of_files(files):
    # One file is read as one file: a directory `chain=…` above it is no column.
    tables = [pq.ParquetFile(file).read() for file in files]
    return pa.concat_tables(tables)


def bounds_hold(table, contents):
    """What the metadata says of files lies around what is in them."""
    problems = []
    schema = table.schema()
    for task in table.scan().plan_files():
        file = task.file
        rows = pq.ParquetFile(file.file_path.removeprefix("file://")).read()
        if file.record_count != rows.num_rows:
            problems.append(f"{file.file_path}: {file.record_count} rows in the metadata")
        for field in schema.fields:
            column = rows.column(field.name)
            if file.value_counts[field.field_id] != len(column):
                problems.append(f"{file.file_path}: values of {field.name}")
            if file.null_value_counts[field.field_id] != column.null_count:
                problems.append(f"{file.file_path}: nulls of {field.name}")
            present = [value for value in column.to_pylist() if value is not None]
            if not present:
                continue
            low, high = min(present), max(present)
            if pa.types.is_timestamp(column.type):
                low, high = (round(moment.timestamp() * 1_000_000) for moment in (low, high))
            read = lambda bounds: from_bytes(field.field_type, bounds[field.field_id])
            if field.field_id not in file.lower_bounds or field.field_id not in file.upper_bounds:
                problems.append(f"{file.file_path}: no bounds of {field.name}")
            elif read(file.lower_bounds) > low or read(file.upper_bounds) < high:
                problems.append(f"{file.file_path}: a value of {field.name} is outside of its bounds")
    contents["bounds_checked"] = not problems
    return problems


def open_duckdb():
    """A connection that knows Iceberg."""
    import duckdb

    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    packages = os.path.dirname(os.path.dirname(duckdb.__file__))
    for name in ("avro", "iceberg"):
        found = glob.glob(f"{packages}/duckdb_extension_{name}/extensions/*/{name}.duckdb_extension")
        if not found:
            raise ImportError(f"no extension {name} beside {duckdb.__file__}")
        connection.execute(f"LOAD '{found[0]}'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def of_duckdb(connection, directory, like):
    """The table as DuckDB reads it, in the types of the files."""
    rows = connection.execute("FROM iceberg_scan(?)", [directory]).to_arrow_table()
    fields = [(name, rows.column(name).cast(like.field(name).type)) for name in like.names]
    return pa.table(dict(fields))


def compare(dataset, files, arguments, catalog, duckdb):
    """What of a table differs from its files."""
    problems, told = [], {}
    expected = of_files(files)
    wanted = figures(expected)
    directory = os.path.join(arguments.lake, "iceberg", dataset)
    table = catalog.load_table((arguments.namespace, dataset))
    listed = sorted(task.file.file_path.removeprefix("file://") for task in table.scan().plan_files())
    if listed != sorted(files):
        problems.append(f"{dataset}: the table has {len(listed)} files, the manifest {len(files)} or others")
    by_path = StaticTable.from_metadata(directory)
    read = {
        "pyiceberg": lambda: table.scan().to_arrow(),
        "path": lambda: by_path.scan().to_arrow(),
        "duckdb": lambda: of_duckdb(duckdb, directory, expected.schema),
    }
    for reader, scan in read.items():
        found = figures(scan())
        told[reader] = found["rows"]
        if found != wanted:
            problems.append(f"{dataset}: {reader} reads {json.dumps(found)}, the files hold {json.dumps(wanted)}")
    problems += bounds_hold(table, told)
    if "chain" in expected.column_names:
        for chain in pc.unique(expected.column("chain")).to_pylist():
            rows = table.scan(row_filter=EqualTo("chain", chain)).to_arrow().num_rows
            count = pc.sum(pc.equal(expected.column("chain"), chain)).as_py()
            if rows != count:
                problems.append(f"{dataset}: {rows} rows of chain {chain}, the files hold {count}")
    summary = table.current_snapshot().summary.additional_properties
    for name in ("cairn.sequence", "cairn.position"):
        if not summary.get(name, "").isdigit():
            problems.append(f"{dataset}: its snapshot has no {name}")
    told["rows"] = wanted["rows"]
    told["files"] = len(files)
    return told, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lake", type=os.path.realpath, nargs="?")
    parser.add_argument("catalog", type=os.path.realpath, nargs="?")
    parser.add_argument("--namespace", default="cairn")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    try:
        duckdb = open_duckdb()
    except Exception as error:
        print(f"lake_iceberg: DuckDB does not read Iceberg: {error}: run ops/setup.sh --lake", file=sys.stderr)
        sys.exit(2)
    if arguments.check:
        sys.exit(0)
    if arguments.lake is None or arguments.catalog is None:
        parser.error("LAKE and CATALOG are missing")
    catalog = SqlCatalog("cairn", uri=f"sqlite:///{arguments.catalog}")
    complete = complete_files(arguments.lake)
    tables, problems = {}, []
    for dataset, files in sorted(complete.items()):
        tables[dataset], found = compare(dataset, files, arguments, catalog, duckdb)
        problems += found
    named = sorted(name for _, name in catalog.list_tables(arguments.namespace))
    if named != sorted(complete):
        problems.append(f"tables {named}, datasets with complete files {sorted(complete)}")
    print(json.dumps({"tables": tables, "problems": problems}, indent=1))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
