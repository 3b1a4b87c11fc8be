"""The pip wheel: from either kind of index, and only if it is the pinned one."""

from __future__ import annotations

import base64
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

NAME = "pip-1.0-py3-none-any.whl"
WHEEL = b"the wheel itself"
SHA256 = hashlib.sha256(WHEEL).hexdigest()
JSON = f'{{"files": [{{"filename": "{NAME}", "url": "../../files/{NAME}"}}]}}'
HTML = f'<!DOCTYPE html><a href="../../files/{NAME}#sha256={SHA256}">{NAME}</a>'


class Index:
    def __init__(self) -> None:
        self.kind, self.page, self.wheel = "application/vnd.pypi.simple.v1+json", JSON, WHEEL
        self.logins: list[str | None] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.logins.append(self.headers["Authorization"])
                served = {
                    "/simple/pip/": (index.kind, index.page.encode()),
                    f"/files/{NAME}": ("application/zip", index.wheel),
                }
                kind, body = served.get(self.path, ("", b""))
                self.send_response(200 if kind else 404)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def index(scripts: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    index = Index()
    thread = threading.Thread(target=index.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{index.address}/simple")
    yield index
    index.server.shutdown()
    index.server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("kind", "page"),
    [("application/vnd.pypi.simple.v1+json", JSON), ("text/html", HTML)],
    ids=["json", "html"],
)
def test_from_an_index(kind: str, page: str, index: Index, fetch_pip: ModuleType, tmp_path: Path) -> None:
    index.kind, index.page = kind, page
    assert fetch_pip.pinned_wheel(tmp_path, NAME, SHA256).read_bytes() == WHEEL
    asked = len(index.logins)
    assert fetch_pip.pinned_wheel(tmp_path, NAME, SHA256).is_file()
    assert len(index.logins) == asked  # kept, not fetched again


def test_another_wheel_is_not_used(index: Index, fetch_pip: ModuleType, tmp_path: Path) -> None:
    index.wheel = b"another"
    with pytest.raises(fetch_pip.FetchFailed, match="SHA-256 differs"):
        fetch_pip.pinned_wheel(tmp_path, NAME, SHA256)
    assert not list(tmp_path.iterdir())


def test_a_damaged_copy_is_fetched_again(index: Index, fetch_pip: ModuleType, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(WHEEL[:-1])
    assert fetch_pip.pinned_wheel(tmp_path, NAME, SHA256).read_bytes() == WHEEL


def test_an_index_that_lacks_it(index: Index, fetch_pip: ModuleType, tmp_path: Path) -> None:
    index.page = '{"files": []}'
    with pytest.raises(fetch_pip.FetchFailed, match="does not have"):
        fetch_pip.pinned_wheel(tmp_path, NAME, SHA256)


def test_a_login_goes_to_the_index_and_into_no_message(
    index: Index, fetch_pip: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://ann:s%40crt@{index.address}/simple/")
    fetch_pip.pinned_wheel(tmp_path, NAME, SHA256)
    assert set(index.logins) == {"Basic " + base64.b64encode(b"ann:s@crt").decode()}
    index.page = '{"files": []}'
    (tmp_path / NAME).unlink()
    with pytest.raises(fetch_pip.FetchFailed) as caught:
        fetch_pip.pinned_wheel(tmp_path, NAME, SHA256)
    assert "crt" not in str(caught.value)


def test_no_network(fetch_pip: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(fetch_pip.FetchFailed, match="no network"):
        fetch_pip.pinned_wheel(tmp_path, NAME, SHA256)


def test_from_a_folder_without_any_network(
    fetch_pip: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'empty'} {tmp_path / 'stick'}")
    with pytest.raises(fetch_pip.FetchFailed, match="PIP_NO_INDEX"):
        fetch_pip.pinned_wheel(tmp_path, NAME, SHA256)
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / NAME).write_bytes(WHEEL)
    assert fetch_pip.pinned_wheel(tmp_path, NAME, SHA256).read_bytes() == WHEEL


def test_the_index_is_pip_s(fetch_pip: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://mirror.example/simple\n")
    assert fetch_pip.index_url() == "https://mirror.example/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://other.example/simple")
    assert fetch_pip.index_url() == "https://other.example/simple"


def test_other_protocols_are_refused(fetch_pip: ModuleType) -> None:
    with pytest.raises(fetch_pip.FetchFailed, match="no http"):
        fetch_pip.get("file:///etc/hostname", 100, "*/*")
