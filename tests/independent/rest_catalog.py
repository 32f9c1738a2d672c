#!/usr/bin/env python3
"""A REST catalog for tests: PyIceberg's SQL catalog behind as much of the REST protocol as writers use.

    rest_catalog.py CATALOG

CATALOG  the SQLite file of the catalog; its tables can then be read from there, too
Says `listening on http://127.0.0.1:PORT` on stdout, and serves until it is ended.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import unquote, urlparse

from pyiceberg.catalog.rest import CreateTableRequest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.table import CommitTableRequest

STATUS = {
    NoSuchNamespaceError: 404,
    NoSuchTableError: 404,
    NamespaceAlreadyExistsError: 409,
    TableAlreadyExistsError: 409,
    CommitFailedException: 409,
}


def loaded(table):
    return {"metadata-location": table.metadata_location, "metadata": json.loads(table.metadata.model_dump_json()), "config": {}}


def answer(catalog, method, parts, body):
    """The status and the JSON of an answer."""
    match method, parts:
        case "GET", ["config"]:
            return 200, {"defaults": {}, "overrides": {}}
        case "POST", ["namespaces"]:
            request = json.loads(body)
            catalog.create_namespace(tuple(request["namespace"]), request.get("properties", {}))
            return 200, request
        case "GET" | "HEAD", ["namespaces", name]:
            properties = catalog.load_namespace_properties(name)
            return 200, {"namespace": [name], "properties": properties}
        case "POST", ["namespaces", name, "tables"]:
            # Clients may leave out what they do not ask for.
            asked = {"partition-spec": None, "write-order": None} | json.loads(body)
            request = CreateTableRequest.model_validate(asked)
            return 200, loaded(
                catalog.create_table((name, request.name), request.table_schema, request.location, properties=request.properties)
            )
        case "GET" | "HEAD", ["namespaces", name, "tables", table]:
            return 200, loaded(catalog.load_table((name, table)))
        case "DELETE", ["namespaces", name, "tables", table]:
            catalog.drop_table((name, table))
            return 204, None
        case "POST", ["namespaces", name, "tables", table]:
            request = CommitTableRequest.model_validate_json(body)
            done = catalog.commit_table(catalog.load_table((name, table)), request.requirements, request.updates)
            return 200, {"metadata-location": done.metadata_location, "metadata": json.loads(done.metadata.model_dump_json())}
    return 404, {"error": {"message": f"no {method} {parts}", "type": "NotFound", "code": 404}}


def handler(catalog):
    alone = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            parts = [unquote(part) for part in urlparse(self.path).path.removeprefix("/v1/").split("/")]
            try:
                with alone:
                    status, content = answer(catalog, self.command, parts, body)
            except tuple(STATUS) as error:
                status = STATUS[type(error)]
                content = {"error": {"message": str(error), "type": type(error).__name__, "code": status}}
            text = b"" if content is None or self.command == "HEAD" else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_HEAD = do_POST = do_DELETE = serve

        def log_message(self, *_):
            pass

    return Handler


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    catalog = SqlCatalog("cairn", uri=f"sqlite:///{sys.argv[1]}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(catalog))
    print(f"listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
