"""age files (age-encryption.org/v1): secrets that must be readable without meshconsole.

Under a passphrase (scrypt) nothing in them rests on a public key, so that a quantum computer is no
better at them than at any symmetric cipher. A recipient of the form age1... is X25519: classical.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from meshconsole.core.errors import CorruptData, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_PASSPHRASE_LEN = 8
MAX_WORK_FACTOR = 20
"""Of a file that is opened: 2^20 costs a gigabyte and some ten seconds; the age tool makes 2^18."""
HEADER_LEN = 4096
_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"


def age_encrypt(plaintext: bytes, *, passphrase: str = "", recipients: Sequence[str] = ()) -> bytes:
    """The armored file, for one passphrase or for some recipients. Takes seconds: use a thread.

    Raises Refused when it is neither or both, and for what is no recipient.
    """
    if bool(passphrase) == bool(recipients):
        raise Refused("invalid", "An age file is for a passphrase or for recipients: one of the two.")
    import pyrage

    if recipients:
        try:
            keys = [pyrage.x25519.Recipient.from_str(text.strip()) for text in recipients]
        except pyrage.RecipientError:
            raise Refused("invalid", "That is no age recipient.", hint="They begin with age1.") from None
        return bytes(pyrage.encrypt(plaintext, keys, armored=True))
    if len(passphrase) < MIN_PASSPHRASE_LEN:
        raise Refused(
            "invalid",
            f"The passphrase of a backup needs at least {MIN_PASSPHRASE_LEN} characters.",
            hint="Whoever finds the file has all the time there is to guess it.",
        )
    return bytes(pyrage.passphrase.encrypt(plaintext, passphrase, armored=True))


def age_decrypt(data: bytes, *, passphrase: str = "", identities: Sequence[str] = ()) -> bytes:
    """What an age file holds, armored or not. Takes seconds and hundreds of megabytes for a passphrase:
    use a process that may. Raises Refused, or CorruptData for what is no age file or is too dear."""
    import pyrage

    factor = _work_factor(data)
    if factor is not None and factor > MAX_WORK_FACTOR:
        raise CorruptData(
            f"The age file asks for 2^{factor} steps to try one passphrase.",
            hint="Was it made by the age tool or by meshconsole?",
        )
    try:
        if factor is None:
            keys = [pyrage.x25519.Identity.from_str(text) for text in identities]
            return bytes(pyrage.decrypt(data, keys))
        return bytes(pyrage.passphrase.decrypt(data, passphrase))
    except pyrage.IdentityError:
        raise Refused(
            "invalid", "That is no age identity.", hint="They begin with AGE-SECRET-KEY-1."
        ) from None
    except pyrage.DecryptError as error:
        raise Refused(
            "invalid",
            f"The age file does not open ({_first_line(error)}).",
            hint="Check the passphrase or the identity, and the file.",
        ) from None


def needs_passphrase(data: bytes) -> bool:
    """Else it needs identities. Raises CorruptData for what is no age file."""
    return _work_factor(data) is not None


def _work_factor(data: bytes) -> int | None:
    """The logarithm of scrypt's cost that the file asks for; None when it is for recipients."""
    header = _unarmored(data)
    if not header.startswith(b"age-encryption.org/v1\n"):
        raise CorruptData(
            "That is not an age file.", hint="It begins with age-encryption.org/v1, or in armor."
        )
    found = re.search(rb"^-> scrypt [A-Za-z0-9+/]+ ([0-9]{1,3})$", header, re.MULTILINE)
    return int(found[1]) if found else None


def _unarmored(data: bytes) -> bytes:
    """The file's first bytes."""
    armored = data.lstrip()
    if not armored.startswith(_ARMOR):
        return data[:HEADER_LEN]
    text = b"".join(armored[len(_ARMOR) : len(_ARMOR) + 2 * HEADER_LEN].partition(b"-----END")[0].split())
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])[:HEADER_LEN]
    except binascii.Error:
        return b""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
