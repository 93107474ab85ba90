"""The AWS that the planner is measured against, in a process of its own: it answers and counts."""

import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from threading import Thread
from typing import Final
from urllib.parse import parse_qs

from benchmarks.planner_fleet import Fleet, page

_SNS: Final = (
    b'<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
    b"<PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>"
)
_CREATE_TAGS: Final = (
    b'<CreateTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
    b"<requestId>r-1</requestId><return>true</return></CreateTagsResponse>"
)
_START: Final = json.dumps(
    {"executionArn": "arn:aws:states:eu-west-1:1:execution:b:e", "startDate": 0}
)


def serve(fleet: Fleet, caller: Connection) -> None:
    """Answer on a free port of the loopback address, and tell it, until the caller hangs up."""
    reservations = fleet.reservations(datetime.now(UTC))
    calls: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            """Say how often each action was called since the last time."""
            self._send(json.dumps(calls).encode())
            calls.clear()

        def do_POST(self) -> None:
            """Answer one call."""
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            target = self.headers.get("X-Amz-Target")
            if target:
                calls[target.rpartition(".")[2]] += 1
                self._send(_START.encode())
                return
            form = parse_qs(body)
            action = form["Action"][0]
            calls[action] += 1
            match action:
                case "DescribeInstances":
                    start = int(form.get("NextToken", ["0"])[0])
                    self._send(page(reservations, start, int(form["MaxResults"][0])))
                case "CreateTags":
                    self._send(_CREATE_TAGS)
                case "Publish":
                    self._send(_SNS)
                case _:
                    self.send_error(400, action)

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        caller.send(server.server_port)
        with suppress(EOFError):
            caller.recv()
        server.shutdown()
