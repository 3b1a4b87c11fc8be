"""The keystore: one file that holds a node's secrets, opened by a passphrase or a key file.

A random master key seals the secrets. Three slots, always all three, seal the master key:

  passphrase   Argon2id and the device secret
  duress       the same; what it seals is worth nothing. Its passphrase destroys the keystore
  key file     32 random bytes of a file (USB stick, systemd credential) and the device secret

An unused slot is random, so the file does not show which are in use. The device secret is a second
small file beside the keystore: a copy of one without the other opens with no passphrase, and
writing over its 32 bytes destroys every slot at once.

The master key also gives the keys that never leave this device: `Secrets.derive`. Changing the
passphrase changes none of them.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import msgspec

from meshconsole.core.errors import CorruptData, Fatal, KeystoreWiped, LocalError, Refused, RemoteError
from meshconsole.crypto.encoding import expand, lp, read_int, unlp
from meshconsole.crypto.passphrase import (
    SALT_LEN,
    KdfParams,
    calibrate,
    check_params,
    derive,
    same_passphrase,
)
from meshconsole.crypto.private_file import overwrite, read_bounded, write_private
from meshconsole.crypto.sealing import OVERHEAD, seal, unseal
from meshconsole.crypto.suites import MC1, suite_by_id

if TYPE_CHECKING:
    from pathlib import Path

KEY_LEN = 32
VERSION = 1
WRONG_PASSPHRASE = "The passphrase is wrong."
WRONG_PASSPHRASE_HINT = "Try again; upper and lower case differ."
_MAX_FILE_LEN = 16384
_MAX_KEYFILE_LEN = 4096
_SECRETS_LABEL = b"mc/secrets/v1"

SlotName = Literal["passphrase", "duress"]


class _Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    salt: bytes
    memory_kib: int
    iterations: int
    lanes: int
    sealed: bytes

    @property
    def params(self) -> KdfParams:
        return KdfParams(self.memory_kib, self.iterations, self.lanes)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    passphrase: _Slot
    duress: _Slot
    keyfile: bytes
    secrets: bytes


@dataclass(frozen=True)
class Secrets:
    """What an unlocked keystore holds. Its `repr` shows nothing."""

    seed: bytes = field(repr=False)
    """The identity's 32 bytes; what a backup keeps."""
    nsec: bytes | None = field(repr=False)
    """An imported Nostr secret key, None when it is derived from the seed."""
    master: bytes = field(repr=False)
    suite: int = field(default=MC1.id, repr=False)
    """The suite whose keys are derived from the seed, chosen for good when the home was made."""
    by_passphrase: bool = field(default=False, repr=False, compare=False)
    """Whether a passphrase opened it this time."""

    @property
    def database_key(self) -> bytes:
        return self.derive("database")

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one local use, e.g. "tag-hash". They are lost with the keystore file."""
        return expand(self.master, lp("mc/local/v1", purpose))


class Keystore:
    """Functions on a keystore file; nothing stays open. All of them take up to a second: use a thread."""

    @staticmethod
    def create(
        path: Path,
        passphrase: str | None,
        *,
        keyfile: Path | None = None,
        params: KdfParams | None = None,
        duress: str | None = None,
        seed: bytes | None = None,
        nsec: bytes | None = None,
        suite: int = MC1.id,
    ) -> Secrets:
        """A new keystore with new secrets, or with a `seed` and `nsec` from a backup.

        A `keyfile` that does not exist is made. Raises Fatal when the keystore exists.
        """
        if passphrase is None and keyfile is None:
            raise LocalError("A keystore needs a passphrase or a key file.")
        if path.exists():
            raise Fatal(f"{path.name} exists already.", hint="Move it away to begin anew.")
        if passphrase is not None and duress is not None and same_passphrase(passphrase, duress):
            raise _not_different()
        secrets = Secrets(_checked_seed(seed), nsec, os.urandom(KEY_LEN), suite_by_id(suite).id)
        params = params or calibrate()
        device = _make_device_secret(path)
        file = _File(
            version=VERSION,
            passphrase=_passphrase_slot("passphrase", passphrase, secrets.master, device, params),
            duress=_passphrase_slot("duress", duress, os.urandom(KEY_LEN), device, params),
            keyfile=_keyfile_slot(_make_keyfile(keyfile), secrets.master, device),
            secrets=_seal_secrets(secrets),
        )
        write_private(path, _encode(file))
        return secrets

    @staticmethod
    def unlock(path: Path, passphrase: str | None = None, keyfile: Path | None = None) -> Secrets:
        """The secrets, by key file when one is given, else by passphrase.

        Raises Fatal for a wrong passphrase, and KeystoreWiped with the same words for the duress
        passphrase, which destroys every slot first.
        """
        file, device = _read(path), _read_device_secret(path)
        if keyfile is not None:
            return _open_secrets(file, _master_by_keyfile(file, keyfile, device))
        if passphrase is None:
            raise Fatal("The keystore is locked.", hint="Give its passphrase.")
        master = _open_slot("passphrase", file.passphrase, passphrase, device)
        if master is not None:
            return replace(_open_secrets(file, master), by_passphrase=True)
        if _open_slot("duress", file.duress, passphrase, device) is not None:
            Keystore.wipe(path)
            raise KeystoreWiped(WRONG_PASSPHRASE, hint=WRONG_PASSPHRASE_HINT)
        raise Fatal(WRONG_PASSPHRASE, hint=WRONG_PASSPHRASE_HINT)

    @staticmethod
    def change_passphrase(
        path: Path,
        passphrase: str | None,
        new: str,
        *,
        keyfile: Path | None = None,
    ) -> None:
        """Seals the same master key under `new`. The old passphrase (or key file) must open it.

        The parameters stay those that were measured when the home was made: a duress slot cannot be
        sealed anew with others, so that two kinds in one file would show when it was set.
        """
        secrets = Keystore.unlock(path, passphrase, keyfile)
        file, device = _read(path), _read_device_secret(path)
        if _open_slot("duress", file.duress, new, device) is not None:
            raise _not_different()
        slot = _passphrase_slot("passphrase", new, secrets.master, device, file.passphrase.params)
        _replace(path, msgspec.structs.replace(file, passphrase=slot))

    @staticmethod
    def set_duress(path: Path, passphrase: str, duress: str | None) -> None:
        """Sets the passphrase that destroys the keystore; None makes the slot random again."""
        Keystore.unlock(path, passphrase)
        if duress is not None and same_passphrase(passphrase, duress):
            raise _not_different()
        file, device = _read(path), _read_device_secret(path)
        slot = _passphrase_slot("duress", duress, os.urandom(KEY_LEN), device, file.passphrase.params)
        _replace(path, msgspec.structs.replace(file, duress=slot))

    @staticmethod
    def set_keyfile(path: Path, passphrase: str, keyfile: Path | None) -> None:
        """Lets `keyfile` (made if missing) open the keystore; None shuts the slot for every key file."""
        secrets = Keystore.unlock(path, passphrase)
        file, device = _read(path), _read_device_secret(path)
        slot = _keyfile_slot(_make_keyfile(keyfile), secrets.master, device)
        _replace(path, msgspec.structs.replace(file, keyfile=slot))

    @staticmethod
    def wipe(path: Path) -> None:
        """Destroys every slot, then the device secret. What is left looks like a keystore and never opens.

        A flash disk may keep old sectors, and an earlier keystore file that was replaced may be among
        them: the device secret is never replaced, so that without it those are worth nothing either.
        The team should remove the device as well.
        """
        try:
            overwrite(path, _worthless_copy(path))
        finally:
            overwrite(device_secret_path(path), os.urandom(KEY_LEN))


def device_secret_path(path: Path) -> Path:
    """The file beside a keystore without which it does not open."""
    return path.with_name(f"{path.name}.device")


def _open_slot(name: SlotName, slot: _Slot, passphrase: str, device: bytes) -> bytes | None:
    """What the slot seals, None when the passphrase is not its own."""
    kek = _kek(name, derive(passphrase, slot.salt, slot.params), device)
    return _try_unseal(kek, _slot_context(name), slot.sealed)


def _passphrase_slot(
    name: SlotName, passphrase: str | None, content: bytes, device: bytes, params: KdfParams
) -> _Slot:
    check_params(params)
    salt = os.urandom(SALT_LEN)
    if passphrase is None:
        sealed = os.urandom(OVERHEAD + KEY_LEN)
    else:
        kek = _kek(name, derive(passphrase, salt, params), device)
        sealed = seal(kek, _slot_context(name), content)
    return _Slot(salt, params.memory_kib, params.iterations, params.lanes, sealed)


def _keyfile_slot(key: bytes | None, master: bytes, device: bytes) -> bytes:
    if key is None:
        return os.urandom(OVERHEAD + KEY_LEN)
    return seal(_kek("keyfile", key, device), _slot_context("keyfile"), master)


def _master_by_keyfile(file: _File, keyfile: Path, device: bytes) -> bytes:
    kek = _kek("keyfile", _read_keyfile(keyfile), device)
    master = _try_unseal(kek, _slot_context("keyfile"), file.keyfile)
    if master is None:
        raise Fatal(
            f"The key file {keyfile.name} does not open this keystore.",
            hint="Use the passphrase, or the key file that belongs to this home.",
        )
    return master


def _kek(name: str, key: bytes, device: bytes) -> bytes:
    return expand(hashlib.sha512(lp("mc/kek/v1", name, key, device)).digest(), b"mc/kek/v1")


def _slot_context(name: str) -> bytes:
    return lp("mc/slot/v1", name)


def _try_unseal(key: bytes, context: bytes, sealed: bytes) -> bytes | None:
    try:
        return unseal(key, context, sealed)
    except RemoteError:
        return None


def _seal_secrets(secrets: Secrets) -> bytes:
    """Of one length, whether there is an imported key or not."""
    imported = secrets.nsec is not None
    body = lp(_SECRETS_LABEL, secrets.seed, int(imported), secrets.nsec or bytes(KEY_LEN), secrets.suite)
    return seal(_secrets_key(secrets.master), _SECRETS_LABEL, body)


def _open_secrets(file: _File, master: bytes) -> Secrets:
    try:
        parts = unlp(unseal(_secrets_key(master), _SECRETS_LABEL, file.secrets))
        if len(parts) == 4:  # written before homes could choose their suite
            parts.append(MC1.id.to_bytes(8, "big"))
        label, seed, imported, nsec, suite = parts
        if label != _SECRETS_LABEL or len(seed) != KEY_LEN:
            raise ValueError
        return Secrets(seed, nsec if read_int(imported) else None, master, suite_by_id(read_int(suite)).id)
    except (RemoteError, ValueError):
        raise CorruptData(
            "The keystore opens, but its secrets are damaged.", hint="Restore the keystore from a backup."
        ) from None


def _secrets_key(master: bytes) -> bytes:
    return expand(master, lp("mc/local/v1", "keystore-secrets"))


def _read(path: Path) -> _File:
    """Checked before anything is derived from it."""
    raw = read_bounded(path, _MAX_FILE_LEN)
    try:
        file = msgspec.json.decode(raw, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise CorruptData(
            f"{path.name} is damaged or was written by a newer version.",
            hint="Restore it from a backup, or update meshconsole.",
        ) from None
    if file.version != VERSION:
        raise Fatal(f"{path.name} was written by a newer version.", hint="Update meshconsole on this device.")
    for slot in (file.passphrase, file.duress):
        check_params(slot.params)
        if len(slot.salt) != SALT_LEN:
            raise CorruptData(f"{path.name} is damaged.", hint="Restore it from a backup.")
    return file


def _replace(path: Path, file: _File) -> None:
    write_private(path, _encode(file))


def _encode(file: _File) -> bytes:
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def _worthless_copy(path: Path) -> bytes:
    try:
        return _encode(_random_like(_read(path)))
    except CorruptData:
        return os.urandom(path.stat().st_size)


def _random_like(file: _File) -> _File:
    """The same shape and parameters, so that nothing shows what happened."""

    def random_slot(slot: _Slot) -> _Slot:
        return msgspec.structs.replace(slot, salt=os.urandom(SALT_LEN), sealed=os.urandom(OVERHEAD + KEY_LEN))

    return _File(
        version=VERSION,
        passphrase=random_slot(file.passphrase),
        duress=random_slot(file.duress),
        keyfile=os.urandom(OVERHEAD + KEY_LEN),
        secrets=os.urandom(len(file.secrets)),
    )


def _make_device_secret(path: Path) -> bytes:
    secret = os.urandom(KEY_LEN)
    write_private(device_secret_path(path), secret)
    return secret


def _read_device_secret(path: Path) -> bytes:
    device = device_secret_path(path)
    if not device.exists():
        raise Fatal(
            f"{device.name} is missing, without which the keystore does not open.",
            hint="Restore both files from the same backup.",
        )
    secret = read_bounded(device, KEY_LEN)
    if len(secret) != KEY_LEN:
        raise CorruptData(f"{device.name} is damaged.", hint="Restore it from a backup.")
    return secret


def _make_keyfile(keyfile: Path | None) -> bytes | None:
    if keyfile is None:
        return None
    if not keyfile.exists():
        write_private(keyfile, os.urandom(KEY_LEN).hex().encode() + b"\n")
    return _read_keyfile(keyfile)


def _read_keyfile(keyfile: Path) -> bytes:
    """Its bytes without surrounding white space, which editors and copying add."""
    key = read_bounded(keyfile, _MAX_KEYFILE_LEN).strip()
    if len(key) < KEY_LEN:
        raise Fatal(
            f"The key file {keyfile.name} is too short to be a key.",
            hint="Let meshconsole make one: it writes 64 hex digits.",
        )
    return key


def _checked_seed(seed: bytes | None) -> bytes:
    if seed is None:
        return os.urandom(KEY_LEN)
    if len(seed) != KEY_LEN:
        raise LocalError("An identity seed must have 32 bytes.")
    return seed


def _not_different() -> Refused:
    return Refused("invalid", "The duress passphrase must differ from the passphrase that unlocks.")
