"""The certificate for wss://: usable, private, renewed while it is served, refused in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from meshconsole.core.errors import Fatal
from meshconsole.crypto.web_certificate import WebCertificate, make_certificate

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
NOW = 1_700_000_000.0


def made(folder: Path, now: float = NOW) -> tuple[Path, Path]:
    files = folder / "tls.pem", folder / "tls.key"
    make_certificate(*files, ["node.local", "192.0.2.1", "fe80::1%eth0"], now)
    return files


def test_it_names_the_machine_and_only_its_owner_reads_the_key(tmp_path: Path) -> None:
    certificate, key = made(tmp_path)
    assert key.stat().st_mode & 0o777 == 0o600
    names = x509.load_pem_x509_certificate(certificate.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["node.local"]
    assert [str(one) for one in names.value.get_values_for_type(x509.IPAddress)] == ["192.0.2.1", "fe80::1"]


def test_a_renewed_one_is_taken_and_a_broken_one_is_not(tmp_path: Path) -> None:
    certificate, key = made(tmp_path)
    served = WebCertificate(certificate, key)
    made(tmp_path, NOW + 86_400)
    served.reload()
    certificate.write_text("garbage")
    with pytest.raises(Fatal, match="cannot be used"):
        served.reload()


@pytest.mark.parametrize("which", [0, 1], ids=["certificate", "key"])
@pytest.mark.parametrize(
    "content", [None, "", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"]
)
def test_what_cannot_be_used_is_refused_in_words(tmp_path: Path, which: int, content: str | None) -> None:
    files = made(tmp_path)
    if content is None:
        files[which].unlink()
    else:
        files[which].write_text(content)
    with pytest.raises(Fatal, match=r"relay\.tls_certificate"):
        WebCertificate(*files)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate, _ = made(tmp_path)
    (tmp_path / "other").mkdir()
    _, key = made(tmp_path / "other")
    with pytest.raises(Fatal, match="cannot be used"):
        WebCertificate(certificate, key)
