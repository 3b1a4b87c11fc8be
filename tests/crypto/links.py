"""Two ends of a link in memory, and a pump between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import RemoteError
from meshconsole.crypto.suites import MC1, Suite
from meshconsole.crypto.tls import LinkCredentials, TlsSession

from .conftest import fixed_identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.crypto.identity import Identity

_CREDENTIALS: dict[tuple[str, int], LinkCredentials] = {}
LABEL = b"EXPORTER-meshconsole-test"


def credentials(name: str, suite: Suite) -> LinkCredentials:
    key = (name, suite.id)
    if key not in _CREDENTIALS:
        _CREDENTIALS[key] = LinkCredentials.make(fixed_identity(name, suite))
    return _CREDENTIALS[key]


def anybody(_: bytes) -> bool:
    return True


def nobody(_: bytes) -> bool:
    return False


def only(identity: Identity) -> Callable[[bytes], bool]:
    return lambda key: key == identity.mldsa_public


def client_and_server(
    suite: Suite = MC1,
    client_accepts: Callable[[bytes], bool] = anybody,
    server_accepts: Callable[[bytes], bool] = anybody,
) -> tuple[TlsSession, TlsSession]:
    client = TlsSession(credentials("alice", suite), server=False, accept=client_accepts)
    server = TlsSession(credentials("bob", suite), server=True, accept=server_accepts)
    client.start()
    server.start()
    return client, server


def pump(client: TlsSession, server: TlsSession) -> None:
    """Carries bytes both ways until both are silent."""
    while True:
        up, down = client.outbox(), server.outbox()
        if not up and not down:
            return
        server.receive(up)
        client.receive(down)


def linked(suite: Suite = MC1) -> tuple[TlsSession, TlsSession]:
    client, server = client_and_server(suite)
    pump(client, server)
    assert client.established
    assert server.established
    return client, server


def refusal(session: TlsSession, data: bytes) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        session.receive(data)
    assert not session.established
    return caught.value
