from __future__ import annotations

import base64
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Refused
from meshconsole.relay.http_auth import (
    MAX_KEYS,
    MAX_USED,
    WINDOW_S,
    HttpRequest,
    UsedTokens,
    read_token,
    use_token,
)
from tests.relay.making import NOW, raw, signed

if TYPE_CHECKING:
    from meshconsole.core.event import Tags

BODY = b'{"method":"supportedmethods"}'
HASH = sha256(BODY).hexdigest()
TAGS = (("u", "ws://pi.local:7447/"), ("method", "POST"), ("payload", HASH))


def request(
    authorization: str, target: str = "/", host: str = "pi.local:7447", body: bytes = BODY
) -> HttpRequest:
    return HttpRequest("POST", target, {"authorization": authorization, "host": host}, body)


def header(kind: int = 27235, tags: Tags = TAGS) -> str:
    return "Nostr " + base64.b64encode(raw(signed("alice", kind, tags, ""))).decode()


def is_own(url: str) -> bool:
    return "://pi.local" in url


def tags(u: str | None = None, **other: str) -> Tags:
    wanted = {"u": u, "method": "POST", "payload": HASH, **other}
    return tuple((name, value) for name, value in wanted.items() if value)


@pytest.mark.parametrize(
    ("u", "target", "host"),
    [
        ("ws://pi.local:7447/", "/", "pi.local:7447"),
        ("ws://pi.local:7447", "/", "pi.local:7447"),
        ("http://pi.local:7447", "/", "pi.local:7447"),
        ("https://pi.local", "/", "pi.local"),
        ("wss://pi.local:443/", "/", "pi.local"),
        ("wss://PI.local/x?y=z", "/x?y=z", "pi.local"),
    ],
)
def test_the_author_is_known_by_the_token(u: str, target: str, host: str) -> None:
    token = read_token(request(header(tags=tags(u)), target, host), lambda url: "pi.local" in url.lower())
    assert token.id == signed("alice", 27235, tags(u), "").id


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (request(""), "needs"),
        (request("Bearer xyz"), "needs"),
        (request("Nostr !!!"), "Base64"),
        (request("Nostr " + "A" * 9000), "characters"),
        (request("Nostr " + base64.b64encode(b"{}").decode()), "NIP-01"),
        (request(header(kind=22242)), "kind 27235"),
        (request(header(tags=tags("ws://other.local:7447/"))), "u tag"),
        (request(header(tags=tags("ws://pi.local:7447/elsewhere"))), "u tag"),
        (request(header(tags=tags("ws://pi.local:9999/"))), "u tag"),
        (request(header(tags=tags("ftp://pi.local:7447/"))), "u tag"),
        (request(header(tags=tags())), "u tag"),
        (request(header(tags=tags("ws://pi.local:7447/", method="GET"))), "method"),
        (request(header(tags=tags("ws://pi.local:7447/", payload=""))), "payload"),
        (request(header(), body=BODY + b" "), "payload"),
    ],
)
def test_anything_else_is_refused(sent: HttpRequest, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        read_token(sent, is_own)
    assert caught.value.code == "auth-required"


def test_a_forged_signature_is_refused() -> None:
    event = raw(signed("alice", 27235, TAGS, ""))
    forged = event.replace(b'"sig":"', b'"sig":"00')[: -len('00"}')] + b'"}'
    with pytest.raises(Refused, match="signature"):
        read_token(request("Nostr " + base64.b64encode(forged).decode()), is_own)


# --- Freshness -------------------------------------------------------------------------------------------


def accepts(used: UsedTokens, at: int, now: int, nonce: int = 0) -> UsedTokens | None:
    try:
        return use_token(used, signed("alice", 27235, (*TAGS, ("nonce", str(nonce))), "", at), now)
    except Refused:
        return None


def test_a_token_is_good_for_one_use() -> None:
    used = accepts(UsedTokens(), NOW, NOW)
    assert used is not None
    assert accepts(used, NOW, NOW) is None
    assert accepts(used, NOW, NOW, nonce=1) is not None


def test_clocks_may_differ_within_the_window() -> None:
    assert accepts(UsedTokens(), NOW - WINDOW_S, NOW) is not None
    assert accepts(UsedTokens(), NOW - WINDOW_S - 1, NOW) is None


def test_a_node_whose_clock_is_behind_locks_nobody_out() -> None:
    woke_up_in_1970 = 1000
    used = accepts(UsedTokens(), NOW, woke_up_in_1970)
    assert used is not None
    later = accepts(used, NOW + 1, woke_up_in_1970)
    assert later is not None
    assert accepts(later, NOW, woke_up_in_1970, nonce=1) is None, "older than the newest that was used"
    assert accepts(later, NOW + 1, woke_up_in_1970) is None, "used"


def test_one_token_from_the_future_does_not_lock_out_those_of_today() -> None:
    used = accepts(UsedTokens(), NOW + 10**9, NOW)
    assert used is not None
    assert accepts(used, NOW, NOW) is not None


def test_what_is_remembered_is_bounded() -> None:
    used = UsedTokens(tuple(str(n) for n in range(MAX_USED)), {str(n): n for n in range(MAX_KEYS)})
    after = accepts(used, NOW, NOW)
    assert after is not None
    assert len(after.ids) == MAX_USED
    assert "0" not in after.ids
    assert len(after.newest) == MAX_KEYS
    assert "0" not in after.newest
