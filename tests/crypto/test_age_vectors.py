"""Files and wraps that age made (its testkit), against what this room reads of them."""

from __future__ import annotations

import base64
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke

from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.crypto import bech32, openssl_provider
from meshconsole.crypto.agefile import age_decrypt, needs_passphrase
from meshconsole.crypto.encoding import unb64
from meshconsole.crypto.suites import MC1

from .vectors import path_of

if TYPE_CHECKING:
    from meshconsole.crypto.liboqs_provider import LiboqsProvider
    from meshconsole.crypto.provider import Provider


AGE_OUTCOMES = {
    "hybrid": True,
    "hybrid_and_x25519": True,
    "hybrid_grease": True,
    "hybrid_bad_tag": False,
    "hybrid_currupted_enc_mlkem": False,
    "hybrid_currupted_enc_x25519": False,
    "hybrid_no_match": False,
    "hybrid_identity": False,
    "hybrid_low_order": False,
}


@pytest.mark.parametrize(("name", "opens"), AGE_OUTCOMES.items())
def test_xwing_wraps_that_age_made(name: str, opens: bool) -> None:
    """Wraps of another implementation, opened with the key halves that MC1 derives from a seed."""
    seed, enc, body, file_key = age_stanza(name)
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
    private = hpke.MLKEM768X25519PrivateKey(*openssl_provider._xwing_halves(seed))
    try:
        opened = suite.decrypt(enc + body, private, info=b"age-encryption.org/mlkem768x25519")
    except (InvalidTag, ValueError):
        assert not opens
    else:
        assert opens
        assert opened == file_key


@pytest.mark.parametrize("name", AGE_OUTCOMES)
def test_xwing_wraps_that_age_made_give_liboqs_a_secret(liboqs: LiboqsProvider, name: str) -> None:
    seed, enc, _, _ = age_stanza(name)
    if name in ("hybrid_identity", "hybrid_low_order"):
        with pytest.raises(ValueError):
            liboqs._xwing_decapsulate(seed, enc)
    else:
        assert len(liboqs._xwing_decapsulate(seed, enc)) == 32


AGE_HEADERS = {
    "hybrid_extra_argument": "stanza",
    "hybrid_x25519_arg": "stanza",
    "hybrid_uppercase": "stanza",
    "hybrid_not_canonical_enc": "base64",
    "hybrid_not_canonical_body": "base64",
    "hybrid_long_share": "length",
    "hybrid_short_share": "length",
    "hybrid_long_file_key": "file key",
    "hybrid_multiple_recipients": "opens",
}


@pytest.mark.parametrize(("name", "of"), AGE_HEADERS.items())
def test_headers_of_age_files(name: str, of: str, provider: Provider) -> None:
    """What is wrong with a stanza's words (`stanza`) is for a reader of stanzas: we have none, the library
    does it, which `test_hybrid_age_files_as_a_whole` shows. Encodings and lengths are read by us too."""
    head, stanzas = age_file(name)
    hybrid = [stanza for stanza in stanzas if stanza[0].lower() == "mlkem768x25519"]
    if of == "stanza":
        assert any(len(stanza) != 3 or stanza[0] != "mlkem768x25519" for stanza in stanzas)
        return
    if of == "base64":
        texts = [text + "=" * (-len(text) % 4) for stanza in hybrid for text in stanza[1:]]
        with pytest.raises(MeshconsoleError):
            list(map(unb64, texts))
        return
    _, seed = bech32.decode(head["identity"])
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
    private = hpke.MLKEM768X25519PrivateKey(*openssl_provider._xwing_halves(seed))
    opened = []
    for _, enc, body in hybrid:
        wrapped = unpadded(enc) + unpadded(body)
        if of == "length":
            assert len(unpadded(enc)) != 1120
            with pytest.raises((InvalidTag, ValueError)):
                suite.decrypt(wrapped, private, info=b"age-encryption.org/mlkem768x25519")
            with pytest.raises(MeshconsoleError):
                provider.hpke_open(MC1, seed, b"age-encryption.org/mlkem768x25519", wrapped)
            return
        with suppress(InvalidTag):
            opened.append(suite.decrypt(wrapped, private, info=b"age-encryption.org/mlkem768x25519"))
    assert bytes.fromhex(head["file key"]) in opened
    # A key of another length than it should have: ours are checked where they are used (`epochs.checked`).
    assert (len(opened[0]) == 16) == (of == "opens")


def test_hybrid_age_files_as_a_whole() -> None:
    """The age library knows no hybrid recipients: each file is refused in words, whoever's identity is
    tried, and none makes it stumble. Our own backups are for a passphrase or X25519."""
    other = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0"
    files = sorted(path_of("age-testkit").iterdir())
    assert len(files) == 18
    for path in files:
        data = age_bytes(path.name)[1]
        assert not needs_passphrase(data)
        with pytest.raises(Refused, match="does not open"):
            age_decrypt(data, identities=[other])


def age_bytes(name: str) -> tuple[dict[str, str], bytes]:
    """The words before a file of age's testkit, and the file itself."""
    text, _, rest = path_of("age-testkit").joinpath(name).read_bytes().partition(b"\n\n")
    head = dict(line.partition(": ")[::2] for line in text.decode().splitlines())
    return head, zlib.decompress(rest) if head.get("compressed") == "zlib" else rest


def age_file(name: str) -> tuple[dict[str, str], list[tuple[str, ...]]]:
    """The words before the file, and its stanzas: arguments and body."""
    head, data = age_bytes(name)
    lines = data.split(b"\n--- ")[0].decode().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("-> ")]
    return head, [(*lines[n][3:].split(), lines[n + 1]) for n in starts]


def age_stanza(name: str) -> tuple[bytes, bytes, bytes, bytes]:
    """(seed of the identity, enc, sealed file key, file key) of a file of age's testkit."""
    text, _, rest = path_of("age-testkit").joinpath(name).read_bytes().partition(b"\n\n")
    head = dict(line.partition(": ")[::2] for line in text.decode().splitlines())
    _, seed = bech32.decode(head["identity"])
    lines = rest.split(b"\n--- ")[0].decode().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("-> mlkem768x25519 "))
    enc = unpadded(lines[at].split()[2])
    return seed, enc, unpadded(lines[at + 1]), bytes.fromhex(head["file key"])


def unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
