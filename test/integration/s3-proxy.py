#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# s3-proxy.py UPSTREAM-PORT FOLDER: stands before a server that speaks S3 and does what that one does not: it checks the
# signature (version 4, written from the specification, so a second opinion on libcurl's) and the payload's hash of every
# request, knows If-None-Match and how to give up uploads, and fails as told. Its port goes to FOLDER/port. FOLDER/mode (JSON,
# read for each request):
#
#     fail: N          every Nth request gets 500; half of those after it was carried out
#     drop: N          every Nth request gets no answer, the connection is closed
#     hang_next: N     stops reading for good when so many bytes of parts have come from now on; makes FOLDER/hangs
#     page: N          lists at most N names a page
#     conditional      If-None-Match is honoured; "refused": 501 to it; missing: not looked at
#     public           GET and HEAD without a signature
#     clock: N         the server's clock is N seconds ahead
#     damage           one byte of each body is changed on its way
#     token            requests must come with this session token
#
# FOLDER/log gets one line a request: METHOD PATH STATUS BODY-BYTES.

import hashlib, hmac, http.client, http.server, json, os, sys, threading, time, email.utils, calendar, urllib.parse

ACCESS, SECRET, REGION = "S3RVER", "S3RVER", "eu-test-1"
upstream, folder = int(sys.argv[1]), sys.argv[2]
guard = threading.Lock()
conditional_guard = threading.Lock()
count = {"requests": 0, "parts": 0}


def mode():
    try:
        with open(os.path.join(folder, "mode")) as f:
            return json.load(f)
    except (FileNotFoundError, ValueError):
        return {}


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Refused(Exception):
    def __init__(self, status, code, more=""):
        self.status, self.code, self.more = status, code, more


def check_signature(method, target, headers, now):
    given = headers.get("Authorization")
    scheme, _, rest = given.partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        raise Refused(400, "InvalidRequest")
    fields = dict(f.strip().split("=", 1) for f in rest.split(","))
    access, date, region, service, end = fields["Credential"].split("/")
    if access != ACCESS:
        raise Refused(403, "InvalidAccessKeyId")
    if region != REGION:
        raise Refused(400, "AuthorizationHeaderMalformed", f"<Region>{REGION}</Region>")
    signed = fields["SignedHeaders"].split(";")
    if signed != sorted(signed) or "host" not in signed:
        raise Refused(403, "SignatureDoesNotMatch", "<Message>signed headers</Message>")
    for name in headers:
        if (name.lower().startswith("x-amz-") or name.lower() == "content-md5") and name.lower() not in signed:
            raise Refused(403, "AccessDenied", f"<Message>{name} is not signed</Message>")
    when = headers["x-amz-date"]
    if abs(calendar.timegm(time.strptime(when, "%Y%m%dT%H%M%SZ")) - now) > 900:
        raise Refused(403, "RequestTimeTooSkewed")
    path, _, query = target.partition("?")
    pairs = sorted(tuple(p.partition("=")[::2]) for p in query.split("&") if p)
    encode = lambda s: urllib.parse.quote(urllib.parse.unquote(s), safe="-._~")
    canonical = "\n".join([
        method,
        "/".join(encode(c) for c in path.split("/")),
        "&".join(f"{encode(a)}={encode(b)}" for a, b in pairs),
        *[f"{n}:{' '.join(','.join(headers.get_all(n) or ['']).split())}" for n in signed],
        "", ";".join(signed), headers["x-amz-content-sha256"]])
    text = "\n".join(["AWS4-HMAC-SHA256", when, f"{date}/{region}/{service}/{end}", hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for part in (date, region, service, end):
        key = mac(key, part)
    if service != "s3" or mac(key, text).hex() != fields["Signature"]:
        raise Refused(403, "SignatureDoesNotMatch", f"<Message>{canonical!r}</Message>".replace("<", "[").replace("[Message>", "<Message>", 1).replace("[/Message>", "</Message>"))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(time.time() + mode().get("clock", 0), usegmt=True)

    def read_body(self, m):
        left, pieces, is_part = int(self.headers.get("Content-Length") or 0), [], "partNumber=" in self.path
        while left > 0:
            piece = self.rfile.read(min(left, 65536))
            if not piece:
                raise ConnectionError
            pieces.append(piece)
            left -= len(piece)
            if is_part and "hang_next" in m:
                with guard:
                    count["parts"] += len(piece)
                    hang = "hang_next" in m and count["parts"] >= m["hang_next"]
                if hang:
                    self.note(0, sum(map(len, pieces)))
                    count["parts"] = 0
                    open(os.path.join(folder, "hangs"), "w").close()
                    time.sleep(600)
        return b"".join(pieces)

    def note(self, status, size):
        with guard, open(os.path.join(folder, "log"), "a") as f:
            f.write(f"{self.command} {self.path} {status} {size}\n")

    def forward(self, body, target):
        connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=60)
        headers = {n: v for n, v in self.headers.items() if n.lower() not in
                   ("connection", "expect", "authorization", "host", "if-none-match", "content-length", "transfer-encoding")
                   and not n.lower().startswith("x-amz-")}
        if self.command in ("PUT", "POST"):
            headers["Content-Length"] = str(len(body))
        connection.request(self.command, target, body if self.command in ("PUT", "POST") else None, headers)
        answer = connection.getresponse()
        return answer, answer.read()

    def exists(self):
        connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=60)
        connection.request("HEAD", self.path.partition("?")[0])
        return connection.getresponse().status == 200

    def respond(self, status, headers, body, size):
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "keep-alive", "server"):
                self.send_header(name, value)
        length = body is not None and len(body) or 0
        if self.command == "HEAD":
            length = dict((n.lower(), v) for n, v in headers).get("content-length", "0")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD" and body:
            self.wfile.write(body)
        self.note(status, size)

    def carry_out(self, m, body, target):
        wanted = m.get("conditional") if self.headers.get("If-None-Match") == "*" and self.command == "PUT" else None
        if self.command == "DELETE" and "?uploadId=" in self.path:
            return None, b""
        if wanted == "refused":
            raise Refused(501, "NotImplemented")
        if wanted:
            with conditional_guard:
                if self.exists():
                    raise Refused(412, "PreconditionFailed")
                return self.forward(body, target)
        return self.forward(body, target)

    def handle_one(self):
        m, size = mode(), 0
        try:
            body = self.read_body(m)
            size = len(body)
            with guard:
                count["requests"] += 1
                number = count["requests"]
            fails = bool(m.get("fail")) and number % m["fail"] == 0
            if m.get("drop") and number % m["drop"] == 0:
                self.note(0, size)
                self.close_connection = True
                return
            if "Authorization" in self.headers:
                check_signature(self.command, self.path, self.headers, time.time() + m.get("clock", 0))
                if m.get("damage") and body:
                    body = bytes([body[0] ^ 1]) + body[1:]
                if self.headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
                    raise Refused(400, "XAmzContentSHA256Mismatch")
                if m.get("token") and self.headers.get("x-amz-security-token") != m["token"]:
                    raise Refused(400 if not self.headers.get("x-amz-security-token") else 403, "InvalidToken")
            elif not (m.get("public") and self.command in ("GET", "HEAD")):
                raise Refused(403, "AccessDenied")
            target = self.path
            if m.get("page") and "list-type=2" in target:
                target += f"&max-keys={m['page']}"
            if fails and number // m["fail"] % 2:
                raise Refused(500, "InternalError")
            answer, content = self.carry_out(m, body, target)
            if fails:
                raise Refused(503, "SlowDown")
            self.respond(answer.status if answer else 204, answer.getheaders() if answer else [], content, size)
        except Refused as e:
            text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{e.code}</Code>{e.more}</Error>'.encode()
            self.respond(e.status, [("Content-Type", "application/xml")], text, size)
        except (ConnectionError, BrokenPipeError):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
with open(os.path.join(folder, "port.new"), "w") as f:
    f.write(str(server.server_address[1]))
os.rename(os.path.join(folder, "port.new"), os.path.join(folder, "port"))
server.serve_forever()
