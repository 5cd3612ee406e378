"""Which addresses the page can be at, and what is said about the others."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from swinv2_dense.errors import UserError
from swinv2_dense.web.server import address_of, bind, is_local, private_gradio


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_a_free_port(host: str, local: bool) -> None:
    with bind(host, 0) as taken:
        assert is_local(taken) is local
        assert address_of(taken) == f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert taken.getsockname()[1] > 0


def test_version_six() -> None:
    try:
        taken = bind("::1", 0)
    except UserError:
        pytest.skip("this machine has no IPv6")
    with taken:
        assert is_local(taken)
        assert address_of(taken).startswith("http://[::1]:")


def test_a_port_that_is_taken() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} of 127\.0\.0\.1 is taken: .*--port 0"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such name", "999.1.1.1", "::ffff:nonsense", ""])
def test_a_host_that_is_not_this_machine(host: str) -> None:
    with pytest.raises(UserError, match=r"--host .*is no address of this machine"):
        bind(host, 0)


def test_a_port_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(UserError, match="port 80 is the system's: name one from 1024 on"):
        bind("127.0.0.1", 80)


def test_gradio_reports_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "before")
    private_gradio(str(tmp_path))
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
