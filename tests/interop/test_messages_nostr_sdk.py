"""Messages by NIP-17, NIP-44 and NIP-59 with rust-nostr (nostr-sdk), in both directions."""

from __future__ import annotations

from typing import Any

import pytest

from meshconsole.core.event import Event, encode_event
from meshconsole.crypto import nip44
from meshconsole.crypto.schnorr import public_key
from meshconsole.relay.event import read_event
from meshconsole.team.notes import MAX_NOTE_BYTES
from meshconsole.team.plain import BACKDATED_S, open_message, wrap_message
from tests.interop.test_relay_nostr_sdk import MISSING
from tests.team.devices import NOW, identity

sdk = pytest.importorskip("nostr_sdk", reason=MISSING)

pytestmark = pytest.mark.interop

TEXTS = ["a", "at the ford, 0400", "\N{GRINNING FACE}\n\t\"'\\", "x" * 4000, '"' * MAX_NOTE_BYTES]


def theirs(event: Event) -> Any:  # noqa: ANN401 - the package has no types
    return sdk.Event.from_json(encode_event(event).decode())


def ours(event: Any) -> Event:  # noqa: ANN401 - the package has no types
    return read_event(event.as_json().encode()).event


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(len(text)))
def test_they_open_what_we_send(text: str) -> None:
    me, phone = identity(), sdk.Keys.generate()
    sent, copy = wrap_message(me, phone.public_key().to_hex(), text, NOW)
    assert theirs(sent).verify()
    opened = sdk.UnwrappedGift.from_gift_wrap(phone, theirs(sent))
    rumor = opened.rumor()
    assert opened.sender().to_hex() == rumor.author().to_hex() == me.npub
    assert (rumor.kind().as_u16(), rumor.content()) == (14, text)
    assert rumor.created_at().as_secs() == NOW
    # The copy is as good a wrap for the same key on another client.
    mine = sdk.Keys.parse(me.nsec.hex())
    assert sdk.UnwrappedGift.from_gift_wrap(mine, theirs(copy)).rumor().content() == text


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(len(text)))
def test_we_open_what_they_send(text: str) -> None:
    me, phone = identity(), sdk.Keys.generate()
    wrap = sdk.nip17_make_private_msg(phone, sdk.PublicKey.parse(me.npub), text)
    opened = open_message(me, ours(wrap))
    assert (opened.author, opened.recipients) == (phone.public_key().to_hex(), (me.npub,))
    assert opened.text == text
    assert 0 <= opened.created_at - wrap.created_at().as_secs() <= BACKDATED_S + 60


@pytest.mark.parametrize("size", [1, 32, 33, 256, 257, 1000, 60_000])
def test_each_decrypts_what_the_other_encrypts(size: int) -> None:
    secret, keys, text = bytes([3]) * 32, sdk.Keys.generate(), "x" * size
    key = nip44.conversation_key(secret, keys.public_key().to_hex())
    me = sdk.PublicKey.parse(public_key(secret))
    assert sdk.nip44_decrypt(keys.secret_key(), me, nip44.encrypt(key, text)) == text
    payload = sdk.nip44_encrypt(keys.secret_key(), me, text, sdk.Nip44Version.V2)
    assert nip44.decrypt(key, payload) == text
