"""The port for plain Nostr clients by wss://, with the owner's certificate or one that this node makes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.node.listen import split_listen

if TYPE_CHECKING:
    from collections.abc import Collection

    from meshconsole.core.home import Home
    from meshconsole.core.sections import RelaySection
    from meshconsole.crypto.web_certificate import WebCertificate


def web_certificate(home: Home, relay: RelaySection, names: Collection[str]) -> WebCertificate | None:
    """None where no such port is wanted. `names` go into one that is made here. Raises Fatal."""
    if not relay.tls_listen:
        return None
    split_listen(relay.tls_listen)
    from meshconsole.crypto.web_certificate import WebCertificate, make_certificate

    if bool(relay.tls_certificate) != bool(relay.tls_key):
        raise Fatal(
            "A certificate and its key belong together.",
            hint="Set both relay.tls_certificate and relay.tls_key, or neither.",
        )
    if relay.tls_certificate:
        return WebCertificate(Path(relay.tls_certificate), Path(relay.tls_key))
    if not (home.tls_certificate.exists() and home.tls_key.exists()):
        make_certificate(home.tls_certificate, home.tls_key, names, time.time())
    return WebCertificate(home.tls_certificate, home.tls_key)
