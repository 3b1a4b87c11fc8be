"""The one map of errors. Third-party exceptions are translated into these at each room's border. Pure.

MeshconsoleError
  LocalError          we broke a rule of our own: a bug
  RemoteError         a peer or client broke the protocol: its fault, its link may be closed
  Refused             a policy said no: machine code and sentence, shown to both sides
  Unavailable         not now: may be tried again (at `retry_at`, seconds since the epoch, if known)
  Fatal               the command or node cannot go on; carries a hint and an exit code
    CorruptData       stored bytes fail their check; names what and where
    WipeIncomplete    something of a destroyed home is left
    KeystoreWiped     the duress passphrase was given: says what a wrong passphrase says

`sentence` says what happened, `hint` what to do. Both are written for the person at the keyboard
and never hold a secret.
"""

from __future__ import annotations


class MeshconsoleError(Exception):
    """Base of every error that meshconsole raises on purpose."""

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence} {self.hint}".strip()


class LocalError(MeshconsoleError):
    """A rule inside meshconsole was broken by meshconsole."""


class RemoteError(MeshconsoleError):
    """A peer or client broke its protocol. `code` is a short machine word, e.g. "bad-frame"."""

    def __init__(self, code: str, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence, hint=hint)
        self.code = code


class Refused(MeshconsoleError):
    """A policy's refusal. `code` is the NIP-01 machine-readable prefix, e.g. "restricted"."""

    def __init__(self, code: str, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence, hint=hint)
        self.code = code


class Unavailable(MeshconsoleError):
    """Cannot be done now. `retry_at` is in seconds since the epoch, None if unknown."""

    def __init__(self, sentence: str, *, hint: str = "", retry_at: float | None = None) -> None:
        super().__init__(sentence, hint=hint)
        self.retry_at = retry_at


class Fatal(MeshconsoleError):
    """The command or the node stops here, with a sentence, a hint and a non-zero exit code."""

    def __init__(self, sentence: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(sentence, hint=hint)
        self.exit_code = exit_code


class CorruptData(Fatal):
    """Stored bytes fail their integrity check."""


class WipeIncomplete(Fatal):
    """A home was to be destroyed and something of it is left. Shown in red until it is done."""


class KeystoreWiped(Fatal):
    """The duress passphrase was given, and no slot is left. Its words are those of a wrong passphrase:
    whoever shows them must not let the difference be seen, and ends what still holds the keys."""
