"""The kernels' library: compiled once, never found half written, and done without where there is no compiler."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision

from swinv2_dense.cpu import convolution, native, roi_align
from swinv2_dense.cpu.attention import cpu_attention
from swinv2_dense.layers import WindowAttention, cosine_attention_plain, window_grid
from tests.cpu.one_layer import one_layer

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


@pytest.mark.kernels
def test_compiles_once(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    library = native.library()
    assert library is not None and library.answer() == 42
    assert "compiling" in capsys.readouterr().err
    built = sorted(cache.iterdir())
    assert [path.suffix for path in built] == [".sha256", ".so", ""] and built[2].name == "lock"
    native.library.cache_clear()
    monkeypatch.setattr(native, "_compile", lambda *_: pytest.fail("compiled again"))
    assert native.library() is not None
    assert built == sorted(cache.iterdir())


@pytest.mark.parametrize("name", ["kernel.cpp", "vectors.h"])
def test_a_changed_source_is_compiled_again(cache: Path, name: str) -> None:
    before = native._digest(["g++"])
    (native.FOLDER / name).write_text("// another")
    assert native._digest(["g++"]) != before


@pytest.mark.skipif("avx2" not in CPU, reason="names processors that this one is not")
@pytest.mark.parametrize("march", ["x86-64", "haswell"])
@pytest.mark.kernels
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
    torch.testing.assert_close(one_layer(x, weight, gelu=True), F.gelu(F.linear(x, weight)), rtol=1e-5, atol=2e-6)
    with torch.no_grad():
        out = one_layer(x, weight, norm=norm, residual=residual)
    torch.testing.assert_close(out, norm(F.linear(x, weight)) + residual, rtol=1e-5, atol=1e-5)
    x, weight = torch.randn(19, 22), torch.randn(37, 22)
    expected = F.linear(x.bfloat16().float(), weight.bfloat16().float())
    torch.testing.assert_close(
        one_layer(x, weight, pairs=True, dtype=torch.bfloat16), expected.bfloat16(), rtol=2**-7, atol=1e-4
    )
    maps, filters = torch.randn(1, 64, 33, 35), torch.randn(80, 64, 3, 3) / 24
    assert convolution.kernel_takes(maps, filters, None)
    expected = F.conv2d(maps, filters, padding=1)
    torch.testing.assert_close(convolution.convolution(maps, filters), expected, rtol=0, atol=5e-5)
    rois, out = torch.tensor([[0, 3.0, 4.0, 60.0, 90.0], [0, 8.0, 9.0, 13.0, 12.0]]), torch.empty(2, 64, 7, 5)
    roi_align.roi_align(maps, rois, (7, 5), 0.25, 0, True, out)
    expected = torchvision.ops.roi_align(maps, rois, (7, 5), 0.25, aligned=True)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    maps.requires_grad_()
    (expected,) = torch.autograd.grad(torchvision.ops.roi_align(maps, rois, (7, 5), 0.25, aligned=True), maps, out)
    found = torch.zeros(maps.shape).contiguous(memory_format=torch.channels_last)
    roi_align.roi_align_backward(out, rois, found, 0.25, 0, True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compiler", ["", " ", '"g++', "no-such-compiler", "false"])
@pytest.mark.kernels
def test_without_a_compiler_attention_is_torchs_and_says_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiler: str
) -> None:
    monkeypatch.setenv("CXX", compiler)
    if compiler != "false":  # that is there, and fails
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(RuntimeWarning, match="no CPU kernels, so torch does their work, .*: .") as caught:
        out = run()
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert len(str(caught[0].message)) < 200
    assert not cache.exists() or [path.name for path in cache.iterdir() if path.name != "lock"] == []
    monkeypatch.undo()
    native.library.cache_clear()
    torch.testing.assert_close(run(), out, rtol=1e-4, atol=1e-5)


@pytest.mark.kernels
def test_what_the_compiler_said_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'In file x.cpp' >&2\necho ' x.cpp:1: error: omp.h is not there' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.warns(RuntimeWarning) as caught:
        assert native.library() is None
    assert str(caught[0].message) == f"{native.WITHOUT}{compiler} fails: x.cpp:1: error: omp.h is not there"


@pytest.mark.kernels
def test_without_a_home_attention_is_torchs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")

    def expanduser(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", expanduser)
    with pytest.warns(RuntimeWarning, match="home directory"):
        assert native.library() is None


@pytest.mark.kernels
def test_a_folder_that_cannot_be_written_is_no_obstacle(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.parent.write_text("in the way")
    assert native.library() is not None


def cached(cache: Path) -> Path:
    return cache / f"{native._digest(native._compiler())}.so"


def plant(path: Path, trace: Path) -> None:
    """A library that runs code when it is loaded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_suffix(".planted.cpp")
    source.write_text(f'#include <cstdio>\n__attribute__((constructor)) void f() {{ fopen("{trace}", "w"); }}')
    subprocess.run([*native._compiler(), "-shared", "-fPIC", str(source), "-o", str(path)], check=True)
    source.unlink()


@pytest.mark.parametrize("damage", ["empty", "cut off", "a byte", "zeros", "a folder", "no checksum", "odd checksum"])
@pytest.mark.kernels
def test_a_damaged_library_is_compiled_again(cache: Path, damage: str) -> None:
    assert native.library() is not None
    path = cached(cache)
    content = path.read_bytes()
    changed = {"empty": b"", "cut off": content[: len(content) // 2], "zeros": bytes(len(content))}
    changed["a byte"] = content[:2000] + bytes([content[2000] ^ 1]) + content[2001:]
    path.unlink()  # not written over: this process has it loaded
    if damage == "a folder":
        path.mkdir()
        native.library.cache_clear()
        library = native.library()
        assert library is not None and library.answer() == 42
        return
    path.write_bytes(changed.get(damage, content))
    if damage == "no checksum":
        path.with_suffix(".sha256").unlink()
    if damage == "odd checksum":
        path.with_suffix(".sha256").write_bytes(b"\xff\x00" * 9000)
    native.library.cache_clear()
    library = native.library()
    assert library is not None and library.answer() == 42
    assert path.read_bytes() == content


@pytest.mark.parametrize("where", ["cache", "above"])
@pytest.mark.kernels
def test_what_others_may_have_written_is_not_loaded(
    cache: Path, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(cached(cache), tmp_path / "trace")
    content = cached(cache).read_bytes()
    cached(cache).with_suffix(".sha256").write_text(hashlib.sha256(content).hexdigest())
    if where == "cache":
        cached(cache).chmod(0o666)
    else:
        tmp_path.chmod(0o777)
    library = native.library()
    assert library is not None and library.answer() == 42
    assert not (tmp_path / "trace").exists()
    said = capsys.readouterr().err
    assert ("are not kept" in said and "can be changed by others" in said) == (where == "above")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
@pytest.mark.kernels
def test_a_library_of_somebody_else_is_not_loaded(cache: Path, tmp_path: Path) -> None:
    plant(cached(cache), tmp_path / "trace")
    cached(cache).with_suffix(".sha256").write_text(hashlib.sha256(cached(cache).read_bytes()).hexdigest())
    os.chown(cached(cache), 12345, 12345)
    library = native.library()
    assert library is not None and library.answer() == 42
    assert not (tmp_path / "trace").exists()


@pytest.mark.kernels
def test_starts_at_once_compile_once(cache: Path, tmp_path: Path) -> None:
    program = (
        "import pathlib, sys\nfrom swinv2_dense.cpu import native\n"
        "native.FOLDER = pathlib.Path(sys.argv[1])\nprint(native.library().answer())"
    )
    command = [sys.executable, "-c", program, str(native.FOLDER)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate() for process in started]
    assert [out for out, _ in outputs] == ["42\n"] * 3
    assert sum("compiling" in said for _, said in outputs) == 1


def test_a_compiler_that_hangs_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\nsleep 100 &\nsleep 100\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(native, "_PATIENCE", 0.3)
    with pytest.warns(RuntimeWarning, match=r"was given up after 0\.3 s"):
        assert native.library() is None
