"""A small HTTP client: a fresh connection for every request, no redirects, cookies if wanted.

The address may change from one request to the next, so that one session can go to any worker.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

Fields = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Response:
    """One answer, and the process that gave it; times are of ``time.monotonic()``."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    received_at: float

    @property
    def pid(self) -> int | None:
        value = self.headers.get("x-worker-pid")
        return int(value) if value else None

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def location(self) -> str:
        return self.headers.get("location", "")


def request(
    base_url: str,
    path: str,
    *,
    method: str = "GET",
    data: Fields | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    cookies: SimpleCookie | None = None,
) -> Response:
    """Ask ``base_url`` for ``path``; ``data`` is posted as a form.

    ``cookies`` are kept up to date.

    Raise ``OSError`` or ``http.client.HTTPException`` where there is no answer.
    """
    sent = {"Connection": "close", **(headers or {})}
    body = None
    if data is not None:
        method = "POST"
        body = urlencode(data)
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    if cookies:
        sent["Cookie"] = "; ".join(f"{name}={m.coded_value}" for name, m in cookies.items())
    started = time.monotonic()
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=timeout)
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    received_at = time.monotonic()
    if cookies is not None:
        for line in answer.headers.get_all("Set-Cookie", []):
            cookies.load(line)
    lower = {name.lower(): value for name, value in answer.headers.items()}
    return Response(answer.status, lower, content, received_at - started, received_at)


@dataclass
class Session:
    """Requests that share cookies, as in a browser; each may go to another address."""

    base_url: str
    cookies: SimpleCookie = field(default_factory=SimpleCookie)

    def get(self, path: str, **headers: str) -> Response:
        return request(self.base_url, path, headers=headers, cookies=self.cookies)

    def post(self, path: str, data: Fields, **headers: str) -> Response:
        return request(self.base_url, path, data=data, headers=headers, cookies=self.cookies)
