"""A call as bytes: a valid one of each operation, and the same with a hostile value in one place."""

import http.client
import json
import socket
from copy import deepcopy
from typing import Any
from urllib.parse import quote

from hostile import Value
from hostile_places import NAME, WHOLE, Document, Place
from served import Answer

DEADLINE = 60
BOUNDARY = b"edge-of-a-part"
# Stands where the value goes: no part of any body.
_MARK = "\u2020here\u2020"
_MARK_IN_JSON = json.dumps(_MARK).encode()


class Wire:
    """A connection that is kept while the server keeps it; sends what no client library would."""

    def __init__(self, port: int) -> None:
        self.port, self.socket = port, None

    def send(self, request: bytes, method: str) -> Answer:
        """The answer to these very bytes, which are one request."""
        kept = self.socket is not None
        try:
            return self._send(request, method)
        except (OSError, http.client.HTTPException):
            self.close()
            if kept:
                # The server may have ended the connection after the answer before.
                return self.send(request, method)
            return Answer(0, {}, b"")

    def _send(self, request: bytes, method: str) -> Answer:
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), DEADLINE)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(request)
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        answer = Answer(response.status, response.headers, response.read())
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        """Hang up."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class Call:
    """A call of an operation, as the document's examples have it; `Reach` makes it one that can be done."""

    def __init__(self, document: Document, method: str, path: str, operation: dict[str, Any]) -> None:
        self.document, self.method, self.path = document, method.upper(), path
        self.operation: str = operation["operationId"]
        self.path_parameters: dict[str, Any] = {}
        self.query: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.body: Any = None
        self.media_type = ""
        for parameter in map(document.followed, operation["parameters"]):
            schema = document.followed(parameter["schema"])
            example = parameter.get("example", document.sample(schema))
            if parameter["in"] == "path":
                self.path_parameters[parameter["name"]] = example
            elif parameter["in"] == "query" and parameter.get("required"):
                self.query[parameter["name"]] = example
            elif parameter["name"] == "If-Match" and parameter.get("required"):
                self.headers["If-Match"] = "*"
        described = document.body(operation)
        if described is not None:
            self.media_type, schema = described
            content = operation["requestBody"]["content"][self.media_type]
            self.body = deepcopy(content.get("example", document.sample(schema)))

    def spelled(self, token: str, place: Place | None = None, value: Value | None = None) -> bytes:
        """The request, with a value in a place."""
        assert (place is None) == (value is None)
        headers = {"Authorization": f"Bearer {token}".encode()}
        headers |= {name: given.encode() for name, given in self.headers.items()}
        data = b""
        if self.media_type == "multipart/form-data":
            headers["Content-Type"] = b"multipart/form-data; boundary=" + BOUNDARY
            data = self._parts(place, value)
        elif self.media_type:
            headers["Content-Type"] = self.media_type.encode()
            data = self._json(place, value)
        if place is not None and value is not None and place.where == "header":
            headers.pop(place.name, None)
            headers[place.name] = value.text
        lines = [f"{self.method} ".encode() + self._target(place, value) + b" HTTP/1.1", b"Host: library.example"]
        if data or self.media_type:
            lines.append(b"Content-Length: %d" % len(data))
        # What is hostile stands last: it can cut nothing off.
        lines += [name.encode() + b": " + given for name, given in headers.items()]
        return b"\r\n".join([*lines, b"", data])

    def _target(self, place: Place | None, value: Value | None) -> bytes:
        path = b""
        for part in self.path.split("/")[1:]:
            name = part.strip("{}")
            if name == part:
                path += b"/" + part.encode()
            elif place is not None and value is not None and (place.where, place.name) == ("path", name):
                path += b"/" + value.address
            else:
                path += b"/" + quote(str(self.path_parameters[name])).encode()
        pairs = [
            (name.encode(), quote(str(one)).encode())
            for name, given in self.query.items()
            if place is None or name != place.name
            for one in (given if isinstance(given, list) else [given])
        ]
        if place is not None and value is not None and place.where == "query":
            pairs.append((value.address, b"1") if place.name == NAME else (place.name.encode(), value.address))
        return path + (b"?" + b"&".join(name + b"=" + given for name, given in pairs) if pairs else b"")

    def _json(self, place: Place | None, value: Value | None) -> bytes:
        if place is None or value is None or place.where != "body":
            return json.dumps(self.body).encode()
        if place.name == WHOLE:
            return value.json
        if place.name == NAME:
            written = json.dumps((self.body if isinstance(self.body, dict) else {}) | {_MARK: 1}).encode()
            name = value.json if value.json.startswith(b'"') else json.dumps(value.json.decode("latin-1")).encode()
            return written.replace(_MARK_IN_JSON, name)
        body = _marked(deepcopy(self.body), place.route)
        return json.dumps(body).encode().replace(_MARK_IN_JSON, value.json)

    def _parts(self, place: Place | None, value: Value | None) -> bytes:
        if place is not None and value is not None and place.name == WHOLE:
            return value.text
        parts = [(name.encode(), str(given).encode()) for name, given in self.body.items()]
        if place is not None and value is not None and place.where == "part":
            parts = [pair for pair in parts if pair[0] != place.name.encode()]
            name = value.address if place.name == NAME else place.name.encode()
            parts.append((name, value.text))
        written = b""
        for name, given in parts:
            file = b'; filename="books.csv"' if name == b"file" else b""
            disposition = b'Content-Disposition: form-data; name="' + name + b'"' + file
            written += b"--" + BOUNDARY + b"\r\n" + disposition + b"\r\n\r\n" + given + b"\r\n"
        return written + b"--" + BOUNDARY + b"--\r\n"


def _marked(within: Any, route: tuple[str | int, ...]) -> Any:
    """A body with the mark at the end of a route, and whatever must stand on the way there."""
    if not route:
        return _MARK
    step, *rest = route
    if isinstance(step, int):
        items = within if isinstance(within, list) and within else [None]
        return [_marked(items[0], tuple(rest)), *items[1:]]
    members = within if isinstance(within, dict) else {}
    return members | {step: _marked(members.get(step), tuple(rest))}
