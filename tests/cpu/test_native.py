"""The kernels' library: compiled once, never found half written, and done without where there is no compiler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from swinv2_dense.cpu import native
from swinv2_dense.cpu.attention import cpu_attention
from swinv2_dense.cpu.linear import linear
from swinv2_dense.layers import WindowAttention, cosine_attention_plain, window_grid

KERNELS = native.FOLDER
CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of compiled libraries, none loaded, and a source that takes no time to compile."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "kernel.cpp").write_text('extern "C" int answer() { return 42; }')
    monkeypatch.setattr(native, "FOLDER", tmp_path / "kernels")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library.cache_clear()
    yield tmp_path / "swinv2_dense" / "native"
    native.library.cache_clear()


def run() -> torch.Tensor:
    torch.manual_seed(0)
    attn = WindowAttention(8, 2, (4, 4), shifted=True, pretrained_window=(4, 4))
    out = attn(torch.randn(1, 7, 9, 8))
    out.sum().backward()
    return out.detach()


def test_compiles_once(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    library = native.library()
    assert library is not None and library.answer() == 42
    assert "compiling" in capsys.readouterr().err
    (built,) = cache.iterdir()
    native.library.cache_clear()
    monkeypatch.setattr(native, "_compile", lambda *_: pytest.fail("compiled again"))
    assert native.library() is not None
    assert [built] == list(cache.iterdir())


@pytest.mark.parametrize("name", ["kernel.cpp", "vectors.h"])
def test_a_changed_source_is_compiled_again(cache: Path, name: str) -> None:
    before = native._digest(["g++"])
    (native.FOLDER / name).write_text("// another")
    assert native._digest(["g++"]) != before


@pytest.mark.skipif("avx2" not in CPU, reason="names processors that this one is not")
@pytest.mark.parametrize("march", ["x86-64", "haswell"])
def test_shorter_vectors_give_the_same(march: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors have vectors of 16, 32 or 64 bytes, and the kernel is written for each."""
    monkeypatch.setattr(native, "FOLDER", KERNELS)
    monkeypatch.setattr(native, "FLAGS", ((f"-march={march}", "-fopenmp", "-O1"),))
    grid = window_grid((9, 20), (7, 5), shifted=True)
    for dtype in (torch.float32, torch.float64):
        inputs = [
            torch.randn(1, 9, 20, 3, 2, 20, dtype=dtype),
            torch.rand(2, dtype=dtype),
            torch.randn(2, 13, 9, dtype=dtype),
        ]
        for t in inputs:
            t.requires_grad_()
        out, expected = cpu_attention(*inputs, grid), cosine_attention_plain(*inputs, grid)
        torch.testing.assert_close(out, expected)
        grad = torch.randn_like(out)
        for a, b in zip(torch.autograd.grad(out, inputs, grad), torch.autograd.grad(expected, inputs, grad)):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    x, weight, residual, norm = torch.randn(19, 21), torch.randn(37, 21), torch.randn(19, 37), torch.nn.LayerNorm(37)
    torch.testing.assert_close(linear(x, weight, gelu=True), F.gelu(F.linear(x, weight)), rtol=1e-5, atol=2e-6)
    with torch.no_grad():
        out = linear(x, weight, norm=norm, residual=residual)
    torch.testing.assert_close(out, norm(F.linear(x, weight)) + residual, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("compiler", ["", " ", '"g++', "no-such-compiler", "false"])
def test_without_a_compiler_attention_is_torchs_and_says_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiler: str
) -> None:
    monkeypatch.setenv("CXX", compiler)
    if compiler != "false":  # that is there, and fails
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(RuntimeWarning, match="falls back to torch's") as caught:
        out = run()
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert not cache.exists() or not list(cache.iterdir())
    monkeypatch.undo()
    native.library.cache_clear()
    torch.testing.assert_close(run(), out, rtol=1e-4, atol=1e-5)


def test_without_a_home_attention_is_torchs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")

    def expanduser(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", expanduser)
    with pytest.warns(RuntimeWarning, match="home directory"):
        assert native.library() is None


def test_a_folder_that_cannot_be_written_is_no_obstacle(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.parent.write_text("in the way")
    assert native.library() is not None


def test_a_damaged_library_is_compiled_again(cache: Path) -> None:
    compiler = native._compiler()
    damaged = cache / f"{native._digest(compiler)}.so"
    cache.mkdir(parents=True)
    damaged.write_bytes(b"")
    assert native.library() is not None
    assert damaged.stat().st_size > 0
