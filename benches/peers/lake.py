#!/usr/bin/env python3
"""Asks twelve questions of a lake, or copies its transactions, with one engine, and prints a line of JSON.

    lake.py queries ENGINE LAKE RUNS [SERVER]     ENGINE: cairn (at SERVER, host:port), duckdb, chdb
    lake.py export  ENGINE LAKE RUNS DIRECTORY    ENGINE: duckdb, pyarrow

Each engine has two threads, and reads the files once before it is measured, so that what it keeps of them
it has. Of each question: the median of the runs in seconds, the number of rows, and a digest of the rows,
which is the same for engines that agree. Of a copy: seconds, rows, bytes. And the most memory it had.
"""
import datetime, decimal, hashlib, http.client, json, pathlib, resource, statistics, sys, time

THREADS = 2

# In the words of DuckDB; {hash}, {address} and heights are of a transaction in the middle of the chain.
QUESTIONS = {
    "top senders": "SELECT from_address, count(*) AS n FROM transactions GROUP BY from_address ORDER BY n DESC, from_address LIMIT 10",
    "transactions by hour": "SELECT date_trunc('hour', timestamp) AS hour, count(*) AS n FROM transactions GROUP BY 1 ORDER BY 1",
    "distinct senders": "SELECT count(DISTINCT from_address) AS n FROM transactions",
    "percentiles of the gas price": "SELECT {percentile:0.5} AS median, {percentile:0.99} AS high FROM transactions",
    "history of an address": "SELECT block_height, transaction_index, hash, amount FROM transactions WHERE from_address = '{address}' OR to_address = '{address}' ORDER BY block_height DESC, transaction_index DESC LIMIT 50",
    "transaction by hash": "SELECT block_height, transaction_index, from_address, to_address, amount, fee FROM transactions WHERE hash = '{hash}'",
    "logs joined with transactions": "SELECT t.from_address, count(*) AS n FROM logs l JOIN transactions t ON l.transaction_hash = t.hash GROUP BY t.from_address ORDER BY n DESC, t.from_address LIMIT 10",
    "sums by month": "SELECT date_trunc('month', timestamp) AS month, count(*) AS n, sum(amount) AS amount, sum(fee) AS fees, sum(gas_used) AS gas FROM transactions GROUP BY 1 ORDER BY 1",
    "latest transactions": "SELECT block_height, transaction_index, hash, from_address, to_address, amount FROM transactions ORDER BY block_height DESC, transaction_index DESC LIMIT 100",
    "pairs of sender and recipient": "SELECT from_address, to_address, count(*) AS n, sum(amount) AS amount FROM transactions GROUP BY from_address, to_address ORDER BY n DESC, from_address, to_address LIMIT 10",
    "a range of heights": "SELECT count(*) AS n, sum(fee) AS fees, max(amount) AS most, sum(gas_used) AS gas FROM transactions WHERE block_height BETWEEN {low} AND {high}",
    "call data by day": "SELECT date_trunc('day', timestamp) AS day, count(*) AS n, sum(octet_length(input)) AS bytes FROM transactions WHERE to_address IS NOT NULL AND octet_length(input) > 0 GROUP BY 1 ORDER BY 1",
}
PERCENTILE = {
    "cairn": "percentile_cont({}) WITHIN GROUP (ORDER BY CAST(gas_price AS DOUBLE))",
    "duckdb": "quantile_cont(CAST(gas_price AS DOUBLE), {})",
    "chdb": "quantileExactInclusive({})(CAST(gas_price AS Float64))",
}


def question(text, engine, place):
    for share in ("0.5", "0.99"):
        text = text.replace("{percentile:" + share + "}", PERCENTILE[engine].format(share))
    for name, value in place.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def plain(value):
    """A value as all engines have it."""
    match value:
        case datetime.datetime():
            return int(value.replace(tzinfo=datetime.timezone.utc).timestamp())
        case datetime.date():
            return plain(datetime.datetime(value.year, value.month, value.day))
        case decimal.Decimal() | int():
            return int(value)
        case float():
            return f"{value:.9g}"
        case bytes():
            return value.decode()
    return value


class Cairn:
    def __init__(self, _lake, server):
        self.connection = http.client.HTTPConnection(server, timeout=120)

    def ask(self, sql):
        headers = {"content-type": "text/plain", "accept": "application/vnd.apache.arrow.stream"}
        self.connection.request("POST", "/api/v1/sql", sql.encode(), headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f"cairn: {answer.status} to {sql}: {body[:500]}")
        return body

    def rows(self, answer):
        import pyarrow

        return pyarrow.ipc.open_stream(answer).read_all().to_pylist()


class DuckDb:
    def __init__(self, lake, _server):
        import duckdb

        self.connection = duckdb.connect(config={"threads": THREADS})
        self.connection.execute("SET enable_object_cache = true; SET TimeZone = 'UTC'")
        for table in ("transactions", "logs"):
            files = f"read_parquet('{lake}/{table}/**/*.parquet', hive_partitioning = false)"
            self.connection.execute(f"CREATE VIEW {table} AS SELECT * FROM {files}")

    def ask(self, sql):
        return self.connection.execute(sql).to_arrow_table()

    def rows(self, answer):
        return answer.to_pylist()


class ChDb:
    def __init__(self, lake, _server):
        import chdb

        self.connection = chdb.connect()
        self.connection.query(f"SET max_threads = {THREADS}, max_parsing_threads = {THREADS}, session_timezone = 'UTC'")
        self.connection.query("SET output_format_arrow_date_as_uint16 = 0")
        for table in ("transactions", "logs"):
            files = f"file('{lake}/{table}/**/*.parquet', Parquet)"
            self.connection.query(f"CREATE VIEW {table} AS SELECT * FROM {files}")

    def ask(self, sql):
        return self.connection.query(sql, "ArrowStream").bytes()

    def rows(self, answer):
        import pyarrow

        return pyarrow.ipc.open_stream(answer).read_all().to_pylist()


ENGINES = {"cairn": Cairn, "duckdb": DuckDb, "chdb": ChDb}


def measured(runs, work):
    work()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        answer = work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), answer


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def queries(engine, lake, runs, server=None):
    place = json.loads((pathlib.Path(lake).parent / "place.json").read_text())
    asked = ENGINES[engine](lake, server)
    answers = {}
    for name, text in QUESTIONS.items():
        sql = question(text, engine, place)
        seconds, answer = measured(int(runs), lambda: asked.ask(sql))
        rows = [[plain(value) for value in row.values()] for row in asked.rows(answer)]
        digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
        answers[name] = {"seconds": seconds, "rows": len(rows), "digest": digest, "first": rows[:1]}
    return {"answers": answers, "peak_mib": peak_mib()}


def export(engine, lake, runs, directory):
    target = pathlib.Path(directory) / f"{engine}.parquet"
    if engine == "duckdb":
        asked = DuckDb(lake, None)
        order = "ORDER BY block_height, transaction_index"
        work = lambda: asked.ask(
            f"COPY (SELECT * FROM transactions {order}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )
        unsorted = lambda: asked.ask(
            f"COPY (SELECT * FROM transactions) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )
    else:
        import pyarrow, pyarrow.dataset, pyarrow.parquet

        pyarrow.set_cpu_count(THREADS)
        files = sorted(map(str, pathlib.Path(lake).glob("transactions/**/*.parquet")))

        def work():
            with pyarrow.parquet.ParquetWriter(target, pyarrow.parquet.read_schema(files[0]), compression="zstd") as writer:
                for batch in pyarrow.dataset.dataset(files).to_batches(batch_size=131072):
                    writer.write_batch(batch)

        unsorted = work
    seconds, _ = measured(int(runs), unsorted)
    result = {"seconds": seconds, "bytes": target.stat().st_size, "peak_mib": peak_mib()}
    if engine == "duckdb":
        result["sorted_seconds"], _ = measured(int(runs), work)
    target.unlink()
    return result


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(json.dumps({"queries": queries, "export": export}[what](*arguments)))
