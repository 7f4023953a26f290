# SPDX-License-Identifier: LGPL-2.1-or-later
#
# For hostile.py: a web server that serves a repository, except where it was told to behave otherwise. It counts the bytes of
# each body, and notes when it went silent.

import fnmatch, os, random, socket, ssl, struct, threading, time, zlib

SLACK = 64 << 10
# What a client may read of documents whose size nobody has signed.
UNSIGNED = {"timestamp.json": 16 << 10, "root.json": 512 << 10}


class Request:
    def __init__(self, server, connection, method_line, headers, count):
        self.server, self.connection, self.headers, self.count = server, connection, headers, count
        self.path = method_line.split(" ")[1].lstrip("/")
        try:
            with open(os.path.join(server.folder, self.path), "rb") as f:
                self.file = f.read()
        except OSError:
            self.file = None
        self.first, self.last, self.ranged = 0, len(self.file or b"") - 1, "range" in headers
        if self.ranged:
            first, last = headers["range"].split("=")[1].split("-")
            self.first = int(first)
            self.last = min(self.last, int(last)) if last else self.last
        self.part = (self.file or b"")[self.first:self.last + 1]
        self.sent = 0
        self.keep = True

    # The largest body that a client should take.
    def limit(self):
        name = os.path.basename(self.path)
        for suffix, size in UNSIGNED.items():
            if name.endswith(suffix):
                return size
        return len(self.file or b"")

    def raw(self, data):
        self.connection.sendall(data)

    def head(self, status, *lines):
        self.raw("".join(l + "\r\n" for l in (f"HTTP/1.1 {status} Whatever", *lines, "")).encode())

    # Beyond what it should take, slowly: what is in the sockets' buffers was not read.
    def body(self, data):
        for at in range(0, len(data), 4096):
            if self.server.stopped:
                raise OSError
            piece = data[at:at + 4096]
            if self.sent >= self.limit():
                time.sleep(0.02)
            self.raw(piece)
            self.sent += len(piece)
            self.server.note(self)

    def silent(self):
        self.server.silent_since = self.server.silent_since or time.monotonic()

    def reply(self, body=None, status=None, length=True, range_line=None, extra=()):
        if self.file is None and body is None:
            return self.honest()
        body = self.part if body is None else body
        status = status or (206 if self.ranged else 200)
        lines = list(extra)
        if length is not False and length is not None:
            lines.append(f"Content-Length: {len(body) if length is True else length}")
        if status == 206:
            lines.append(range_line or f"Content-Range: bytes {self.first}-{self.last}/{len(self.file)}")
        elif range_line:
            lines.append(range_line)
        self.head(status, *(l for l in lines if l))
        self.body(body)
        self.keep = length is not None and length is not False

    def honest(self):
        if self.file is None:
            self.head(404, "Content-Length: 0")
        elif self.headers.get("if-none-match") == self.etag():
            self.head(304, "ETag: " + self.etag())
        else:
            self.reply(extra=("ETag: " + self.etag(),))

    def etag(self):
        return f'"{zlib.crc32(self.file):08x}"'

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.keep = False


class Server:
    # rules: (pattern of the file's name, behaviour, how many times or None); the first that fits counts.
    def __init__(self, folder, rules, certificate=None):
        self.folder, self.rules, self.certificate = folder, rules, certificate
        self.lock, self.counts, self.totals, self.worst = threading.Lock(), {}, {}, []
        self.requests, self.stopped, self.silent_since = 0, False, None
        self.random = random.Random(4)
        self.peer = None
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def stop(self):
        self.stopped = True
        self.listener.close()

    def note(self, request):
        if request.sent > request.limit() + SLACK and request.path not in self.worst:
            self.worst.append(request.path)

    def accept(self):
        while not self.stopped:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            connection.settimeout(60)
            if self.certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.certificate)
                connection = context.wrap_socket(connection, server_side=True)
            reader = connection.makefile("rb")
            while not self.stopped and self.answer(connection, reader):
                pass
        except (OSError, ValueError):
            pass
        finally:
            try:
                connection.close()
            except OSError:
                pass

    def answer(self, connection, reader):
        line = reader.readline(8192).decode("latin-1").strip()
        if not line:
            return False
        headers = {}
        while True:
            h = reader.readline(8192).decode("latin-1").strip()
            if not h:
                break
            name, _, value = h.partition(":")
            headers[name.lower()] = value.strip()
        name = os.path.basename(line.split(" ")[1])
        with self.lock:
            self.requests += 1
            action = None
            for i, (pattern, behaviour, times) in enumerate(self.rules):
                if not fnmatch.fnmatch(name, pattern):
                    continue
                self.counts[i] = self.counts.get(i, 0) + 1
                if times is None or self.counts[i] <= times:
                    action = behaviour
                    break
        request = Request(self, connection, line, headers, self.requests)
        try:
            (action or Request.honest)(request)
        finally:
            with self.lock:
                self.totals[name] = self.totals.get(name, 0) + request.sent
            if not request.keep:
                reader.close()
                connection.close()
        return request.keep
