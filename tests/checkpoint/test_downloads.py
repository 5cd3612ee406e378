"""What is fetched belongs to its whole address, and is fetched again when it has changed there."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from safetensors.torch import save

from swinv2_dense.checkpoint.downloads import downloaded
from swinv2_dense.checkpoint.reading import read
from swinv2_dense.errors import UserError


class Site:
    """A server on this machine. ``files``: path -> content; ``asked``: methods and paths, as they came."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.etags = True
        self.heads = True
        self.cut = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, body: bool) -> None:
                site.asked.append(f"{self.command} {self.path}")
                content = site.files.get(self.path)
                if content is None or (not body and not site.heads):
                    self.send_error(404 if content is None else 405)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                if site.etags:
                    self.send_header("ETag", hashlib.sha256(content).hexdigest())
                self.end_headers()
                if body:
                    self.wfile.write(content[: len(content) - site.cut])

            def do_GET(self) -> None:
                self.answer(True)

            def do_HEAD(self) -> None:
                self.answer(False)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    found = Site()
    yield found
    if found.thread.is_alive():
        found.close()


def weights(value: float) -> bytes:
    return save({"a": torch.full((3,), value)})


def loaded(url: str) -> float:
    return float(read(url).state_dict["a"][0])


def test_two_addresses_with_one_last_name_are_two_files(site: Site) -> None:
    site.files = {f"/{name}/model.safetensors": weights(i) for i, name in enumerate("ab")}
    site.files["/model.safetensors?revision=2"] = weights(2)
    assert [loaded(site.address + path) for path in site.files] == [0, 1, 2]


@pytest.mark.parametrize("etags", [True, False])
def test_a_file_is_fetched_once_and_again_when_it_changes(site: Site, etags: bool) -> None:
    site.etags = etags
    site.files["/x.safetensors"] = weights(1)
    url = f"{site.address}/x.safetensors"
    assert [loaded(url), loaded(url)] == [1, 1]
    assert site.asked.count("GET /x.safetensors") == 1
    site.files["/x.safetensors"] = weights(2) if etags else save({"a": torch.full((4,), 2.0)})
    assert loaded(url) == 2
    assert site.asked.count("GET /x.safetensors") == 2


def test_what_was_fetched_is_used_when_nobody_answers(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MMLogger, "_instance_dict", {})
    caplog.set_level(logging.WARNING, logger="swinv2_dense")
    site.files["/x.safetensors"] = weights(1)
    url = f"{site.address}/x.safetensors"
    assert loaded(url) == 1
    site.close()
    assert loaded(url) == 1
    assert "does not answer" in caplog.text
    with pytest.raises(UserError, match=r"other\.pth could not be fetched"):
        read(f"{site.address}/other.pth")


def test_a_host_that_answers_no_head_requests_works(site: Site) -> None:
    site.heads = False
    site.files["/x.safetensors"] = weights(1)
    assert loaded(f"{site.address}/x.safetensors") == 1


def test_a_download_that_breaks_off_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.files["/x.safetensors"] = weights(1)
    site.cut = 5
    with pytest.raises(UserError, match=r"x\.safetensors"):
        read(f"{site.address}/x.safetensors")
    assert not list((tmp_path / "hub").rglob("x.safetensors"))
    site.cut = 0
    assert loaded(f"{site.address}/x.safetensors") == 1


def test_a_missing_page_is_refused(site: Site) -> None:
    with pytest.raises(UserError, match=r"could not be fetched.*404"):
        read(f"{site.address}/none.pth")


def test_a_key_after_the_address_is_not_part_of_it(site: Site, tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(3)}, "state_dict_ema": {"a": torch.ones(3)}}, tmp_path / "x.pth")
    site.files["/x.pth"] = (tmp_path / "x.pth").read_bytes()
    assert [loaded(f"{site.address}/x.pth"), loaded(f"{site.address}/x.pth#state_dict_ema")] == [0, 1]
    assert site.asked.count("GET /x.pth") == 1


def test_odd_addresses_are_files_with_plain_names(site: Site) -> None:
    site.files["/a/%2e%2e%2fx%20y.pth?download=true"] = weights(1)
    path = downloaded(site.address + next(iter(site.files)))
    assert path.name.endswith("x_y.pth")
    assert path.parent.parent.name == "swinv2_dense"


def test_the_hash_in_the_name_of_a_download_must_be_its_content_s(site: Site, tmp_path: Path) -> None:
    content = weights(1)
    digest = hashlib.sha256(content).hexdigest()[:8]
    site.files[f"/swin-{digest}.pth"] = site.files["/swin-20220803.pth"] = content  # the latter is a date
    assert loaded(f"{site.address}/swin-{digest}.pth") == loaded(f"{site.address}/swin-20220803.pth") == 1
    site.files["/swin-0a1b2c3d.pth"] = content
    for _ in range(2):  # nothing stays that the second one would take
        with pytest.raises(UserError, match=rf"begins with {digest}, and not with 0a1b2c3d as its name says"):
            read(f"{site.address}/swin-0a1b2c3d.pth")


def test_the_hash_in_the_name_of_a_file_is_compared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning alone: it may have been renamed."""
    monkeypatch.setattr(MMLogger, "_instance_dict", {})
    caplog.set_level(logging.WARNING, logger="swinv2_dense")
    content = weights(1)
    digest = hashlib.sha256(content).hexdigest()[:8]
    for name in (f"swin-{digest}.pth", "swin-20220803.pth", "swin-0a1b2c3d4e.pth", "swin-0a1b2c3d_ours.pth"):
        (tmp_path / name).write_bytes(content)
        assert loaded(str(tmp_path / name)) == 1
    assert not caplog.records
    (tmp_path / "swin-0a1b2c3d.pth").write_bytes(content)
    assert loaded(str(tmp_path / "swin-0a1b2c3d.pth")) == 1
    (record,) = caplog.records
    assert f"begins with {digest}, and not with 0a1b2c3d" in record.getMessage()
