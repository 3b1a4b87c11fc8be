"""The HTTP edge as one handler: which part answers what, and what each client must show before.

/ipfs/...                the trustless gateway
/routing/v1/...          delegated routing
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from meshconsole.edge.messages import HttpError, Reply, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.core.sections import EdgeSection
    from meshconsole.edge.messages import Handler, Request

PREFLIGHT = (
    ("Access-Control-Allow-Headers", "Authorization, *"),  # the star does not mean this one
    ("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
    ("Access-Control-Max-Age", "86400"),
)
ABOUT = "This is the HTTP edge of a meshconsole node: {}."


@dataclass(frozen=True, slots=True)
class Part:
    """`name` is its switch in [edge], `about` what is said of it to whoever looks. `asks`: it finds out
    itself who it is that asks, wherever it is reached from."""

    name: str
    about: str
    is_path: Callable[[str], bool]
    handle: Handler
    asks: bool = False


class Edge:
    def __init__(
        self,
        settings: Callable[[], EdgeSection],
        may_pass: Callable[[Request], Awaitable[bool]] | None = None,
    ) -> None:
        """`may_pass` says whether a request shows a token, or needs none; None lets everything pass."""
        self._settings = settings
        self._may_pass = may_pass
        self._parts: list[Part] = []
        self.requests: dict[str, int] = {}
        """By part, since the start."""

    def add(self, part: Part) -> None:
        self._parts.append(part)

    async def handle(self, request: Request) -> Reply:
        """Raises HttpError, MeshconsoleError."""
        if request.method == "OPTIONS":
            return Reply(HTTPStatus.NO_CONTENT, PREFLIGHT, None)
        for part in self._parts:
            if part.is_path(request.path):
                if not self._is_on(part.name):
                    raise HttpError(HTTPStatus.NOT_FOUND, f"This is switched off here (edge.{part.name}).")
                if not part.asks:
                    await self._check_token(request)
                self.requests[part.name] = self.requests.get(part.name, 0) + 1
                return await part.handle(request)
        await self._check_token(request)
        if request.path == "/" and request.method in ("GET", "HEAD"):
            served = [part.about for part in self._parts if self._is_on(part.name)]
            return text(HTTPStatus.OK, ABOUT.format(", ".join(served) or "everything is switched off"))
        raise HttpError(HTTPStatus.NOT_FOUND, "There is nothing at this path.")

    async def _check_token(self, request: Request) -> None:
        if self._may_pass is not None and not await self._may_pass(request):
            raise HttpError(
                HTTPStatus.UNAUTHORIZED,
                "A token is needed here. Its owner makes one by: meshconsole edge token NAME",
                (("WWW-Authenticate", "Bearer"),),
            )

    @property
    def parts(self) -> list[tuple[str, bool]]:
        """Name, and whether it is switched on."""
        return [(part.name, self._is_on(part.name)) for part in self._parts]

    def _is_on(self, name: str) -> bool:
        return bool(getattr(self._settings(), name))


def below(prefix: str) -> Callable[[str], bool]:
    """Whether a path is this one or below it."""
    return lambda path: path == prefix or path.startswith(f"{prefix}/")
