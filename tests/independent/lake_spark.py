#!/usr/bin/env python3
"""Opens the Iceberg tables of a lake with Apache Spark, by their directories, and compares them with the
lake's files as pyarrow reads them.

    lake_spark.py LAKE JAR
    lake_spark.py --check JAR

LAKE     the directory of a lake: its manifest.json says which files are complete
JAR      the runtime of Iceberg for Spark
--check  only says whether all is there that it needs

What is compared, for every dataset with complete files: number of rows, of nulls and of distinct
values of every column, and the sum of every column of numbers; and how many rows Spark itself counts
with a filter that goes down to the files.

Answers JSON on stdout. Exit: 0 all agree, 1 they do not (see `problems`), 2 usage or a package is missing.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile

try:
    import pyarrow as pa
    from pyspark.sql import SparkSession
    from lake_iceberg import column_figures, complete_files, figures, of_files
except ImportError as error:
    print(f"lake_spark: {error}: run ops/setup.sh --lake", file=sys.stderr)
    sys.exit(2)


def open_spark(jar, directory):
    """Spark in this process, with nothing to be seen from outside."""
    settings = {
        "spark.jars": jar,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.local.dir": directory,
        "spark.sql.warehouse.dir": os.path.join(directory, "warehouse"),
    }
    builder = SparkSession.builder.master("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def plain(value):
    """Values that can be counted: Spark's bytes cannot."""
    return bytes(value) if isinstance(value, bytearray) else value


def of_spark(rows, like):
    columns = {}
    for index, name in enumerate(like.names):
        values = [plain(row[index]) for row in rows]
        columns[name] = column_figures(values, like.field(name).type)
    return {"rows": len(rows), "columns": columns}


def compare(spark, dataset, files, lake):
    expected = of_files(files)
    wanted = figures(expected)
    table = spark.read.format("iceberg").load(os.path.join(lake, "iceberg", dataset))
    if table.columns != expected.schema.names:
        return [f"{dataset}: Spark has the columns {table.columns}"]
    found = of_spark(table.collect(), expected.schema)
    problems = []
    if found != wanted:
        problems.append(f"{dataset}: Spark reads {json.dumps(found)}, the files hold {json.dumps(wanted)}")
    for name in ("height", "block_height"):
        if name in expected.schema.names and pa.types.is_integer(expected.schema.field(name).type):
            heights = expected.column(name).to_pylist()
            middle = (min(heights) + max(heights)) // 2
            count = table.where(f"{name} <= {middle}").count()
            if count != sum(height <= middle for height in heights):
                problems.append(f"{dataset}: Spark counts {count} rows up to {name} {middle}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("places", type=os.path.realpath, nargs="+", metavar="LAKE JAR")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if len(arguments.places) != (1 if arguments.check else 2):
        parser.error("LAKE and JAR are wanted")
    jar = arguments.places[-1]
    if not os.path.isfile(jar) or shutil.which("java") is None:
        print(f"lake_spark: {jar} or Java is missing: run ops/setup.sh --lake", file=sys.stderr)
        sys.exit(2)
    if arguments.check:
        sys.exit(0)
    lake = arguments.places[0]
    tables, problems = [], []
    with tempfile.TemporaryDirectory() as directory:
        spark = open_spark(jar, directory)
        for dataset, files in sorted(complete_files(lake).items()):
            problems += compare(spark, dataset, files, lake)
            tables.append(dataset)
        spark.stop()
    print(json.dumps({"tables": tables, "problems": problems}, indent=1))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
