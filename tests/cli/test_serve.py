"""swinv2 serve: the page itself, on a free port, asked by Gradio's client, and looked at in a browser if there is one.

Mistakes are one line before anything is served. The server's process reports each connection that it attempts to
anywhere else than this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image

from swinv2_dense import Predictor
from swinv2_dense.cli.main import main
from swinv2_dense.web.server import bind
from tests.inference.conftest import Run
from tests.tiny import REPOSITORY

RunOf = Callable[[str], Run]

_WATCHED = """
import socket, sys

def watched(call):
    def report(self, address, *rest):
        if self.family != getattr(socket, "AF_UNIX", None) and str(address[0]) not in ("127.0.0.1", "::1", "localhost"):
            print("connection to", address, file=sys.stderr, flush=True)
        return call(self, address, *rest)
    return report

def looked_up(host, *rest, **options):
    if host not in (None, "127.0.0.1", "::1", "localhost"):
        print("connection to", host, file=sys.stderr, flush=True)
    return look_up(host, *rest, **options)

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, watched(getattr(socket.socket, name)))
look_up, socket.getaddrinfo = socket.getaddrinfo, looked_up
from swinv2_dense.cli.main import main
sys.exit(main(["serve", *sys.argv[1:]]))
"""


class Server(NamedTuple):
    """``said``: its standard output until it was ready. ``folder``: for its temporary files."""

    url: str
    said: str
    errors: Path
    folder: Path
    process: subprocess.Popen[str]


@contextlib.contextmanager
def started(run: Run, folder: Path, *options: str) -> Iterator[Server]:
    """A server in a process of its own. When asked to end it does, and leaves no file."""
    pytest.importorskip("gradio", reason="needs the web extra: make web")
    temporary, errors = folder / "temporary", folder / "errors.txt"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", _WATCHED, str(run.checkpoint), "--port", "0", "--device", "cpu", *options]
    with errors.open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    said = ""
    try:
        for line in process.stdout:
            said += line
            if line.startswith("open http"):
                break
        assert "open http" in said, errors.read_text()
        yield Server(said.split("open ")[1].split(" ")[0], said, errors, temporary, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert list(temporary.glob("swinv2_serve_*")) == []
        assert "connection to" not in errors.read_text()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server(run_of: RunOf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of detection, with every score shown."""
    with started(run_of("detection"), tmp_path_factory.mktemp("server"), "--score", "0") as server:
        yield server


class Asked(NamedTuple):
    drawing: Path
    summary: str
    rows: list[list[Any]]
    files: dict[str, Path]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files["predictions.jsonl"].read_text().splitlines()]


class Client:
    """Asks as the page does, by HTTP."""

    def __init__(self, url: str, folder: Path) -> None:
        from gradio_client import Client

        self._client = Client(url, verbose=False, analytics_enabled=False, download_files=str(folder))

    def __call__(self, path: Path, score: float = 0.0, window: str = "") -> Asked:
        from gradio_client import handle_file

        answer = self._client.predict(handle_file(str(path)), score, window, api_name="/predict")
        drawing, summary, table, files = answer
        return Asked(Path(drawing), summary, table["data"], {Path(file).name: Path(file) for file in files})


@pytest.fixture
def ask(server: Server, tmp_path: Path) -> Client:
    return Client(server.url, tmp_path)


def expected(result: Any, name: str) -> list[dict[str, Any]]:
    result.source = name
    return json.loads(json.dumps(result.to_dicts()))


def test_it_says_what_it_serves_and_where(server: Server) -> None:
    first, second = server.said.splitlines()
    assert first.endswith("epoch_1.pth: detection, 4 classes, window 4, on cpu")
    assert second == f"open {server.url} in a browser; Ctrl-C ends it"
    assert urlsplit(server.url).hostname == "127.0.0.1"


def test_an_image(ask: Client, run_of: RunOf, folder: Path) -> None:
    predictor = Predictor(run_of("detection").checkpoint, device="cpu", score=0.0)
    result = predictor(folder / "a.png")
    found = ask(folder / "a.png")
    assert found.lines == expected(result, "a.png")
    assert found.summary == result.summary()
    assert [row[0] for row in found.rows] == result.names
    assert np.allclose([row[2:] for row in found.rows], result.boxes, atol=0.06)
    drawn = cv2.imread(str(found.drawing))
    assert drawn.shape == result.image.shape
    assert drawn.tobytes() != result.image.tobytes()
    second = float(found.rows[1][1])
    assert ask(folder / "a.png", second - 1e-4).rows == found.rows[: sum(row[1] > second - 1e-4 for row in found.rows)]
    other = Predictor(run_of("detection").checkpoint, device="cpu", score=0.0, window=2)(folder / "a.png")
    assert ask(folder / "a.png", 0.0, "2").lines == expected(other, "a.png")


def test_an_image_that_a_phone_turned(ask: Client, run_of: RunOf, image: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(image[..., ::-1]).save(path, exif=exif, quality=95)
    result = Predictor(run_of("detection").checkpoint, device="cpu", score=0.0)(path)
    assert result.image.shape == (80, 60, 3)
    found = ask(path)
    assert found.lines == expected(result, "turned.jpg")
    assert cv2.imread(str(found.drawing)).shape == (80, 60, 3)


def test_a_large_image(ask: Client, run_of: RunOf, image: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), cv2.resize(image, (4000, 3000)))
    result = Predictor(run_of("detection").checkpoint, device="cpu", score=0.0)(path)
    found = ask(path)
    assert found.lines == expected(result, "large.jpg")
    assert cv2.imread(str(found.drawing)).shape == (1200, 1600, 3)


def test_what_cannot_be_read_is_reported_and_the_next_one_is_answered(ask: Client, folder: Path) -> None:
    from gradio_client.exceptions import AppError

    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "drawing.svg").write_text("<svg/>")
    for name, window, line in [
        ("broken.png", "", r"broken.png cannot be decoded: it is truncated or no image"),
        ("drawing.svg", "", r"drawing.svg cannot be decoded"),
        ("a.png", "many", "window 'many': give a number of tokens"),
        ("a.png", "1 2 3", "window"),
    ]:
        with pytest.raises(AppError) as raised:
            ask(folder / name, 0.0, window)
        assert line in str(raised.value)
    assert ask(folder / "a.png").rows


def test_only_what_was_uploaded_is_read(server: Server, folder: Path) -> None:
    """A request may name any path: an image of this machine's would be drawn for whoever asks; an address, fetched."""
    uploads = server.folder / "uploads"
    for path in (folder / "a.png", uploads / ".." / ".." / "a.png", "a.png", "http://192.0.2.1/a.png"):
        content = {"data": [{"path": str(path), "meta": {"_type": "gradio.FileData"}}, 0.0, ""]}
        headers = {"Content-Type": "application/json"}
        call = f"{server.url}/gradio_api/call/predict"
        request = urllib.request.Request(call, json.dumps(content).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{call}/{event}") as answer:
            said = answer.read().decode()
        assert "event: error" in said and "this is no file that was uploaded" in said


def test_several_at_once(server: Server, run_of: RunOf, image: np.ndarray, tmp_path: Path) -> None:
    predictor = Predictor(run_of("detection").checkpoint, device="cpu", score=0.0)
    paths, found = [tmp_path / f"{number}.png" for number in range(5)], {}
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.roll(image, 7 * number, axis=1))
    clients = [Client(server.url, tmp_path / path.stem) for path in paths]
    threads = [
        threading.Thread(target=lambda p=path, c=client: found.update({p: c(p).lines}))  # type: ignore[misc]
        for path, client in zip(paths, clients, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in paths:
        assert found[path] == expected(predictor(path), path.name)


def test_a_page_of_another_name_is_refused(server: Server) -> None:
    """A web site whose name is made to lead to 127.0.0.1 would otherwise be served as if it were the page."""
    asked = urllib.request.Request(server.url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(asked)
    for path in ("docs", "gradio_api/file=/etc/passwd", f"gradio_api/file={REPOSITORY / 'setup.cfg'}"):
        with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
            urllib.request.urlopen(f"{server.url}/{path}")


def test_the_page_may_ask_nobody_else(server: Server) -> None:
    with urllib.request.urlopen(server.url) as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self' ")
        assert "http" not in answer.headers["Content-Security-Policy"]


def test_a_clip(run_of: RunOf, video: Path, folder: Path, tmp_path: Path) -> None:
    result = Predictor(run_of("video").checkpoint, device="cpu")(video)
    with started(run_of("video"), tmp_path) as server:
        ask = Client(server.url, tmp_path)
        found = ask(video, 0.3)
        assert found.lines == expected(result, "clip.mp4")
        assert [row[0] for row in found.rows] == result.names


# ---- in a browser


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium without a window: playwright's own, else the system's."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, and a browser for it")
    system = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with playwright.sync_playwright() as driver:
        try:
            own = Path(driver.chromium.executable_path).is_file()
            started = driver.chromium.launch(executable_path=None if own else system, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser: {str(error).splitlines()[0]}")
        yield started
        started.close()


def test_in_a_browser(server: Server, browser: Any, run_of: RunOf, folder: Path) -> None:
    """Drop an image, change the score and the window, drop a broken one: what is seen, and where requests go."""
    checkpoint = run_of("detection").checkpoint
    result = Predictor(checkpoint, device="cpu", score=0.0)(folder / "a.png")
    other = Predictor(checkpoint, device="cpu", score=0.0, window=2)(folder / "a.png")
    (folder / "broken.png").write_bytes(b"broken")
    requests: list[str] = []
    errors: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.extend([message.text] * ("Content Security" in message.text)))
    page.goto(server.url)
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(page).to_have_title("swinv2: epoch_1.pth", timeout=60_000)
    found, upload = page.get_by_label("found"), page.locator("input[type=file]").first
    upload.set_input_files(folder / "a.png")
    expect(found).to_have_value(result.summary(), timeout=60_000)
    drawing = page.locator("img[src*='a.jpg']").first
    expect(drawing).to_be_visible()
    assert drawing.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [80, 60]
    for name in set(result.names):
        expect(page.get_by_role("button", name=name, exact=True).first).to_be_visible()
    expect(page.locator("a[href*='predictions.jsonl']").first).to_be_visible()

    score = page.get_by_label("number input for lowest score")
    score.fill("1")
    score.press("Enter")
    page.get_by_role("button", name="Predict").click()
    expect(found).to_have_value("nothing")
    score.fill("0")
    score.press("Enter")
    page.get_by_label("window").fill("2")
    page.get_by_role("button", name="Predict").click()
    expect(found).to_have_value(other.summary(), timeout=60_000)

    page.get_by_role("button", name="Remove Image").click()
    expect(found).to_have_value("")
    page.locator("input[type=file]").first.set_input_files(folder / "broken.png")
    expect(page.get_by_text("broken.png cannot be decoded")).to_be_visible(timeout=60_000)
    assert errors == []
    assert {urlsplit(url).hostname for url in requests if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}


# ---- mistakes


def test_mistakes(run_of: RunOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio", reason="needs the web extra: make web")
    run = run_of("detection")
    for argv, part in [
        (["gone.pth"], "checkpoint gone.pth does not exist"),
        ([str(run.weights)], "--config NAME"),
        ([str(run.checkpoint), "--device", "nonsense"], "device 'nonsense' cannot be used"),
        ([str(run.checkpoint), "--window", "0"], "window_size=0"),
        ([str(run.checkpoint), "--score", "2"], "--score 2: give a number from 0 to 1"),
        ([str(run.checkpoint), "--host", "192.0.2.1"], "--host 192.0.2.1 is no address of this machine"),
    ]:
        assert main(["serve", *argv, "--port", "0"]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert part in error


def test_a_port_that_is_taken(run_of: RunOf, capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(run_of("detection").checkpoint), "--port", port]) == 1
    assert capsys.readouterr().err.startswith(f"error: port {port} of 127.0.0.1 is taken: name another")
    for wrong in ("65536", "-1", "http"):
        with pytest.raises(SystemExit):
            main(["serve", "x.pth", "--port", wrong])


def test_without_gradio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name == "swinv2_dense.web.page"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["serve", "x.pth", "--port", "0"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: swinv2 serve needs gradio")
    assert "pip install 'swinv2_dense[web]'" in error
    assert error.count("\n") == 1


def test_ended_while_it_loads_it_leaves_nothing(
    run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gradio", reason="needs the web extra: make web")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)

    def end(*_: object, **__: object) -> None:
        assert list(tmp_path.glob("swinv2_serve_*"))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("swinv2_dense.inference.predictor.Predictor.__init__", end)
    assert main(["serve", str(run_of("classification").checkpoint), "--port", "0"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert list(tmp_path.glob("swinv2_serve_*")) == []
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_who_may_use_it(
    host: str, warned: bool, run_of: RunOf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gradio", reason="needs the web extra: make web")
    served: list[Any] = []
    monkeypatch.setattr("swinv2_dense.web.server.serve", lambda page, taken: served.append(page))
    assert main(["serve", str(run_of("classification").checkpoint), "--host", host, "--port", "0"]) == 0
    assert len(served) == 1
    said = capsys.readouterr()
    assert ("warning: whoever reaches port " in said.err) is warned
    assert "open http://127.0.0.1:" in said.out
