"""age files (age-encryption.org/v1): secrets that must be readable without meshconsole.

Under a passphrase (scrypt) nothing in them rests on a public key, so that a quantum computer is no
better at them than at any symmetric cipher. A recipient of the form age1... is X25519: classical.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_PASSPHRASE_LEN = 8


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
