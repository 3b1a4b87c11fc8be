"""Who may see the console in a browser: whoever was given the token, and no page of somebody else's. Pure.

Other users of this machine reach the port as well, and so do pages of any site that its browser shows: a
name that is made to point at 127.0.0.1 (DNS rebinding) makes such a page "the same site". So three things
must fit:

1. the Host header is a loopback address with this port, as only a browser sent here on purpose says it;
2. a WebSocket's Origin is that Host: the same-origin policy does not hold for WebSockets (RFC 6455 §10.2);
3. a cookie, given once in exchange for a token that stood in the address and is worth nothing afterwards.

Cookies do not know ports (RFC 6265 §8.5): this one holds for a path of its own, that no other server has.
"""

from __future__ import annotations

from hmac import compare_digest
from secrets import token_urlsafe

COOKIE = "meshconsole"
BYTES = 32
PATH_BYTES = 12
FROM_HERE = ("", "same-origin", "none")
"""Sec-Fetch-Site of a page's own requests, of an address that was typed, and of browsers that do not say."""


class Gate:
    def __init__(self, port: int) -> None:
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.path = f"/{token_urlsafe(PATH_BYTES)}/"
        """Where the console is."""
        self.token = token_urlsafe(BYTES)
        """What stands in the address at first; "" when it has been used."""
        self._secret = token_urlsafe(BYTES)

    @property
    def address(self) -> str:
        """To be opened once, by whoever may."""
        return f"http://{self.hosts[0]}/?token={self.token}"

    def host_fits(self, host: str) -> bool:
        return host.lower() in self.hosts

    def comes_from_here(self, host: str, origin: str, fetch_site: str) -> bool:
        """Not asked for by a page of another site. `origin` is empty where the browser sends none."""
        return fetch_site in FROM_HERE and origin in ("", f"http://{host}")

    def may_open_socket(self, host: str, origin: str) -> bool:
        """Browsers always say which page opens a WebSocket."""
        return origin == f"http://{host}"

    def exchange(self, token: str) -> str:
        """The cookie's value for the right token, once; else ""."""
        if not self.token or not _same(token, self.token):
            return ""
        self.token = ""
        return self._secret

    def knows(self, cookie: str) -> bool:
        return _same(cookie, self._secret)


def _same(given: str, right: str) -> bool:
    """In a time that does not tell how much of it is right."""
    return compare_digest(given.encode(errors="surrogatepass"), right.encode())
