"""Serves MLflow's own web pages, from an installed wheel, in front of a server under test.

`python ui_proxy.py http://127.0.0.1:PORT` prints its own address. Everything that is not a file of the pages is
forwarded. `served(target)` is the same for scripts; `requests` then lists what the pages asked for with the status.
"""

import contextlib
import http.client
import http.server
import importlib.util
import mimetypes
import pathlib
import sys
import threading
import urllib.parse

# What a proxy must not pass on (RFC 9110, section 7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"}


def build():
    """The folder of the built pages."""
    spec = importlib.util.find_spec("mlflow")
    if spec is None or spec.origin is None:
        sys.exit("mlflow is not installed; the pages are part of its wheel")
    return pathlib.Path(spec.origin).parent / "server" / "js" / "build"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        path = urllib.parse.urlsplit(self.path).path
        name = "index.html" if path == "/" else path.removeprefix("/static-files/")
        file = (self.server.pages / name).resolve()
        if self.command == "GET" and (path == "/" or path.startswith("/static-files/")):
            if file.is_file() and file.is_relative_to(self.server.pages):
                self.send(200, [("content-type", mimetypes.guess_type(file.name)[0] or "text/plain")], file.read_bytes())
            else:
                self.send(404, [], b"")
            return
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            data = answer.read()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
            self.server.requests.append((self.command, self.path, answer.status, data))
            self.send(answer.status, kept, data)
        except OSError as error:
            self.server.requests.append((self.command, self.path, 502, str(error).encode()))
            self.send(502, [], str(error).encode())
        finally:
            connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def send(self, status, headers, body):
        with contextlib.suppress(OSError):
            self.send_response_only(status)
            for name, value in [*headers, ("content-length", str(len(body)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        pass

    def handle(self):
        # A browser that leaves a page hangs up in the middle of answers.
        with contextlib.suppress(ConnectionError):
            super().handle()


@contextlib.contextmanager
def served(target):
    """A proxy on a free port as long as the context is open."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.pages, server.target, server.requests = build().resolve(), urllib.parse.urlsplit(target).netloc, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} http://127.0.0.1:PORT")
    with served(sys.argv[1]) as proxy:
        print(proxy.address, flush=True)
        threading.Event().wait()
