"""Gets one pinned pip wheel for a Python that has no ensurepip. Standard library only.

Where from: a folder in PIP_FIND_LINKS, else the index that pip itself would use (PIP_INDEX_URL, then
pip's configuration files, then pypi.org). The index may speak JSON (PEP 691) or HTML (PEP 503).

The wheel counts only if its SHA-256 is the pinned one, whatever path it came by. That is why a machine
without any CA certificates (a minimal Debian) may fetch it all the same; pip brings its own afterwards.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

DEFAULT_INDEX = "https://pypi.org/simple"
MAX_PAGE_BYTES = 32 << 20
MAX_WHEEL_BYTES = 16 << 20
TIMEOUT_S = 60.0


class FetchFailed(Exception):
    """Says what happened and what to do."""


def pinned_wheel(folder: Path, name: str, sha256: str) -> Path:
    """The checked wheel, in `folder`; fetched if it is not there yet. Raises FetchFailed."""
    kept = folder / name
    if kept.is_file() and _digest(kept.read_bytes()) == sha256:
        return kept
    data = _from_folders(name) or _from_index(name)
    if _digest(data) != sha256:
        raise FetchFailed(f"{name} is not the one that meshconsole expects (its SHA-256 differs); not used.")
    part = kept.with_suffix(".part")
    part.write_bytes(data)
    part.replace(kept)
    return kept


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _from_folders(name: str) -> bytes | None:
    for place in os.environ.get("PIP_FIND_LINKS", "").split():
        wheel = Path(place.removeprefix("file://")) / name
        if wheel.is_file():
            return wheel.read_bytes()
    return None


def _from_index(name: str) -> bytes:
    if os.environ.get("PIP_NO_INDEX", "") not in ("", "0", "false"):
        raise FetchFailed(
            f"this Python has no pip, PIP_NO_INDEX is set, and no folder in PIP_FIND_LINKS holds {name}."
            " Put it there, or install pip: sudo apt install python3-venv"
        )
    page_url = f"{index_url().rstrip('/')}/pip/"
    kind, page = get(page_url, MAX_PAGE_BYTES, "application/vnd.pypi.simple.v1+json, text/html;q=0.1")
    link = _link_in_json(page, name) if "json" in kind else _link_in_html(page, name)
    if link is None:
        raise FetchFailed(f"the package index {_without_password(page_url)} does not have {name}.")
    return get(_join(page_url, link), MAX_WHEEL_BYTES, "*/*")[1]


def index_url() -> str:
    """The index that pip would use."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    configured = configparser.RawConfigParser(strict=False)
    home = Path.home()
    places = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    places += [Path(named) for named in [os.environ.get("PIP_CONFIG_FILE", "")] if named]
    try:
        configured.read(places)
    except configparser.Error as error:
        raise FetchFailed(f"pip's configuration cannot be read: {error}") from error
    url = DEFAULT_INDEX
    for section in ("global", "install"):
        url = configured.get(section, "index-url", fallback=url)
    return url


def _link_in_json(page: bytes, name: str) -> str | None:
    files = json.loads(page).get("files", [])
    return next((str(file["url"]) for file in files if file.get("filename") == name), None)


def _link_in_html(page: bytes, name: str) -> str | None:
    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            links.extend(value for key, value in attrs if tag == "a" and key == "href" and value)

    Links().feed(page.decode("utf-8", "replace"))
    return next((link for link in links if Path(urllib.parse.urlsplit(link).path).name == name), None)


def _join(page_url: str, link: str) -> str:
    """`link` as an absolute address, with the index's own user and password if it is the same server."""
    joined = urllib.parse.urlsplit(urllib.parse.urljoin(page_url, link))
    page = urllib.parse.urlsplit(page_url)
    if "@" in page.netloc and joined.netloc == page.netloc.rpartition("@")[2]:
        joined = joined._replace(netloc=page.netloc)
    return urllib.parse.urlunsplit(joined._replace(fragment=""))


def get(url: str, max_bytes: int, accept: str) -> tuple[str, bytes]:
    """Content type and body. Raises FetchFailed."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise FetchFailed(f"the package index {_without_password(url)} has no http or https address.")
    login, _, server = parts.netloc.rpartition("@")
    request = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=server)))
    request.add_header("Accept", accept)
    if login:
        plain = urllib.parse.unquote(login).encode()
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(plain).decode())
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=_tls()) as answer:
            body: bytes = answer.read(max_bytes + 1)
            kind = str(answer.headers.get("Content-Type", ""))
    except (OSError, ValueError) as error:
        raise FetchFailed(_in_words(server, error)) from error
    if len(body) > max_bytes:
        raise FetchFailed(f"{server} sent more than {max_bytes >> 20} MiB; not used.")
    return kind, body


def _tls() -> ssl.SSLContext:
    chosen = os.environ.get("PIP_CERT") or None
    context = ssl.create_default_context(cafile=chosen)
    if not chosen and not context.get_ca_certs() and not _certificate_folder_filled():
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the pinned SHA-256 decides
    return context


def _certificate_folder_filled() -> bool:
    """OpenSSL loads certificates from its folder one by one when needed, so get_ca_certs misses them."""
    folder = ssl.get_default_verify_paths().capath
    return folder is not None and any(Path(folder).glob("*.0"))


def _in_words(server: str, error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the package index {server} answered {error.code} {error.reason}."
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {server} cannot be checked ({reason.verify_message})."
            " Is this machine's clock right?"
        )
    return (
        f"no network: {server} cannot be reached ({reason}). The first set-up needs the network once;"
        " afterwards meshconsole needs none."
    )


def _without_password(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
