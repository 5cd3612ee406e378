"""Make an environment that holds the tested set: what ``make install`` runs.

Standard library only, because nothing else is there yet. Every step first looks whether its work is done, so an
interrupted install goes on where it stopped, and a finished one is over in a moment.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from install_mmcv import compiler_environment, cuda_home, nvcc_version, operators, wheel_folder

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "constraints.txt"
BUILD_TOOLS = ("pip", "setuptools", "wheel", "ninja")
TORCH = ("torch", "torchvision")
MMCV = "onedl-mmcv"
# They write into the same folders as the distributions of the lock; with both installed, whichever came last is used.
RIVALS = (
    *("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
    *("mmcv", "mmcv-full", "mmcv-lite", "mmdet", "mmengine", "mmengine-lite", "mmpretrain", "mmsegmentation"),
)
UNSUPPORTED = "Python {} is not supported: have 3.10, 3.11 or 3.12 on the PATH, or give PYTHON=/path/to/python3.11"
ENVIRONMENT_PROBE = """
import json, sys, sysconfig
print(json.dumps({"version": sys.version_info[:2], "site": sysconfig.get_path("purelib"),
                  "include": sysconfig.get_path("include")}))
"""
TORCH_PROBE = """
import json, torch
cards = [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "cards": cards}))
"""


class InstallError(Exception):
    """Something that the user can mend; the message is one line."""


def is_supported(version: Sequence[int | str]) -> bool:
    return (3, 10) <= tuple(version[:2]) <= (3, 12)


def read_lock(text: str, python: tuple[int, int]) -> dict[str, str]:
    """Versions by distribution name of the lines that hold for this Python."""
    pins = {}
    for line in text.splitlines():
        requirement, _, marker = line.partition("#")[0].partition(";")
        if not requirement.strip():
            continue
        older, newer = (
            re.findall(r'python_version < "3\.(\d+)"', marker),
            re.findall(r'python_version >= "3\.(\d+)"', marker),
        )
        if any(python >= (3, int(minor)) for minor in older) or any(python < (3, int(minor)) for minor in newer):
            continue
        name, version = requirement.strip().split("==")
        pins[name] = version
    return pins


def distributions(site: Path) -> dict[str, Path]:
    """The ``.dist-info`` folder of every installed distribution, by normalised name."""
    return {re.sub(r"[-_.]+", "-", path.name.split("-")[0]).lower(): path for path in site.glob("[!~]*.dist-info")}


def is_whole(dist_info: Path) -> bool:
    """Whether the install came to its end and nothing, a rival's removal say, has taken files away since."""
    record = dist_info / "RECORD"
    if not record.exists():
        return False
    with record.open(newline="", encoding="utf-8") as rows:
        return all((dist_info.parent / row[0]).exists() for row in csv.reader(rows) if not row[0].endswith(".pyc"))


def is_installed(name: str, version: str, installed: dict[str, Path]) -> bool:
    """Whether this version is there and whole; torch's ``+cpu`` and the like do not count as another version."""
    path = installed.get(name)
    return path is not None and path.name[:-10].split("-")[1].split("+")[0] == version and is_whole(path)


class Progress:
    """One line that says what is going on and for how long; on a terminal it is rewritten in place."""

    def __init__(self, title: str, usual: str) -> None:
        self.title, self.start, self.live = title, time.monotonic(), sys.stdout.isatty()
        self.next = 0.0 if self.live else 30.0
        print(f"{title}{f' (usually {usual})' if usual else ''} ...", end="" if self.live else "\n", flush=True)

    def show(self, log: bytes) -> None:
        """Show the time gone by, and how many objects ninja has compiled according to the log's end."""
        seconds = time.monotonic() - self.start
        if seconds < self.next:
            return
        self.next = seconds + (1.0 if self.live else 30.0)
        objects = re.findall(rb"\[(\d+)/(\d+)\] ", log)
        count = ", object {} of {}".format(*(n.decode() for n in objects[-1])) if objects else ""
        line = f"{self.title} ... {int(seconds) // 60}:{int(seconds) % 60:02d}{count}"
        print(f"\r{line}\x1b[K" if self.live else f"  {line}", end="" if self.live else "\n", flush=True)

    def close(self) -> None:
        if self.live:
            print()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it started, as Ctrl-C does: pip then puts back what it was replacing."""
    os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    with contextlib.suppress(ProcessLookupError):  # raised where all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(title: str, command: list[str], log: Path, usual: str = "", env: dict[str, str] | None = None) -> None:
    """Run a command with its output in the log; raises InstallError with the log's last lines shown before it."""
    progress = Progress(title, usual)
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    with log.open("ab") as out, log.open("rb") as seen:
        out.write(f"\n$ {shlex.join(command)}\n".encode())
        out.flush()
        start = seen.seek(0, os.SEEK_END)
        # A session of its own, so that an interrupted compilation leaves no compiler behind.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **quiet, **(env or {})},
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                seen.seek(max(start, seen.seek(0, os.SEEK_END) - 10_000))
                progress.show(seen.read())
                time.sleep(0.1)
        except BaseException:
            stop(process)
            raise
        finally:
            progress.close()
        if process.returncode:
            seen.seek(start)
            print("\n".join(seen.read().decode(errors="replace").splitlines()[-20:]), file=sys.stderr)
            raise InstallError(f"{title} failed; the whole log is {log}")


class Installer:
    """One environment and what is known about it; the steps in the order of ``install``."""

    def __init__(self, venv: Path, torch_index: str, mmcv_find_links: str) -> None:
        self.venv, self.torch_index, self.mmcv_find_links = venv, torch_index, mmcv_find_links
        self.python, self.log = str(venv / "bin/python"), venv / "install.log"
        self.state_file = venv / ".swinv2_dense.json"
        try:
            self.state = json.loads(self.state_file.read_text())
        except (OSError, ValueError):
            self.state = {}

    def install(self) -> None:
        if not self.has_pip():
            self.make_venv()
        self.read_environment()
        if self.state.get("ready") == self.fingerprint() and self.torch_index in ("", self.state.get("torch_index")):
            print(f"{self.venv} is up to date; `{self.python} -m swinv2_dense.doctor` looks closer")
            return
        self.log.write_bytes(b"")
        self.remember(ready=None)
        self.install_missing("build tools", BUILD_TOOLS)
        self.remove_rivals()
        self.install_torch()
        self.install_mmcv()
        others = tuple(name for name in self.lock if name not in (*BUILD_TOOLS, *TORCH, MMCV))
        self.install_missing("the other packages", others, usual="1-2 minutes")
        self.pip("swinv2_dense itself, editable", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        if subprocess.run([self.python, "-m", "swinv2_dense.doctor", "all", "test"], check=False).returncode:
            raise InstallError("the check above found a broken part")
        self.remember(ready=self.fingerprint())

    def has_pip(self) -> bool:
        if not Path(self.python).exists():
            return False
        return subprocess.run([self.python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0

    def make_venv(self) -> None:
        if not is_supported(sys.version_info):
            raise InstallError(UNSUPPORTED.format(platform.python_version()))
        self.venv.mkdir(parents=True, exist_ok=True)
        run(
            f"{self.venv}, Python {platform.python_version()}", [sys.executable, "-m", "venv", str(self.venv)], self.log
        )

    def read_environment(self) -> None:
        told = self.probe(ENVIRONMENT_PROBE)
        if not is_supported(told["version"]):
            raise InstallError(
                f"{self.python} is Python {told['version']}: 3.10 to 3.12 are supported; give another VENV"
            )
        self.version = (told["version"][0], told["version"][1])
        self.site, self.include = Path(told["site"]), Path(told["include"])
        self.lock = read_lock(LOCK.read_text(), self.version)

    def probe(self, code: str) -> dict[str, Any]:
        told = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=False)
        if told.returncode:
            raise InstallError(f"{self.python}: {told.stderr.strip().splitlines()[-1]}")
        return json.loads(told.stdout)

    def remember(self, **facts: Any) -> None:
        self.state.update(facts)
        temporary = self.state_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.state, indent=1))
        os.replace(temporary, self.state_file)

    def fingerprint(self) -> str:
        """Changes with all that could make a finished install unfinished: our files, a pip run, a new card or nvcc."""
        patterns = ("tools/install*.py", "setup.cfg", "pyproject.toml", "requirements/*.txt")
        ours = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
        records = {name: path / "RECORD" for name, path in distributions(self.site).items()}
        installed = [(name, record.exists() and record.stat().st_mtime_ns) for name, record in sorted(records.items())]
        gpu = Path("/dev/nvidiactl").exists(), str(cuda_home()), os.environ.get("TORCH_CUDA_ARCH_LIST")
        text = repr((str(ROOT), [path.read_text() for path in ours], installed, gpu))
        return hashlib.sha256(text.encode()).hexdigest()

    def pip(self, title: str, *arguments: str, usual: str = "", env: dict[str, str] | None = None) -> None:
        run(title, [self.python, "-m", "pip", "install", *arguments], self.log, usual, env)

    def install_missing(self, title: str, names: tuple[str, ...], usual: str = "") -> None:
        installed = distributions(self.site)
        missing = [f"{n}=={self.lock[n]}" for n in names if not is_installed(n, self.lock[n], installed)]
        if missing:
            # Forced, because pip takes a distribution that has lost files for an installed one.
            options = ("--no-deps", "--no-build-isolation", "--force-reinstall")
            self.pip(f"{title}, {len(missing)}", *options, *missing, usual=usual)

    def remove_rivals(self) -> None:
        rivals = [name for name in RIVALS if name in distributions(self.site)]
        if rivals:
            command = [self.python, "-m", "pip", "uninstall", "--yes", *rivals]
            run(f"removing {', '.join(rivals)}: the tested set has its own", command, self.log)

    def install_torch(self) -> None:
        installed = distributions(self.site)
        other_build = self.torch_index not in ("", self.state.get("torch_index"))
        if not other_build and all(is_installed(name, self.lock[name], installed) for name in TORCH):
            return
        index = self.torch_index or self.state.get("torch_index")
        # Such an index has the packages that torch needs, but not always in the versions of the lock; these come later.
        options = ["--index-url", index, "--force-reinstall"] if index else ["--constraint", str(LOCK)]
        wanted = [f"{name}=={self.lock[name]}" for name in TORCH]
        title = " ".join(wanted) + (f" from {index}" if index else "")
        self.pip(title, *options, *wanted, usual="1-5 minutes, 5 GB with CUDA")
        self.remember(torch_index=index)

    def install_mmcv(self) -> None:
        torch = self.probe(TORCH_PROBE)
        home = cuda_home()
        capabilities, problem = operators(torch, nvcc_version(home), os.environ.get("TORCH_CUDA_ARCH_LIST"))
        if problem:
            print(f"note: mmcv's operators are compiled for the CPU only; {problem}")
        if self.has_mmcv(torch["version"], capabilities):
            return
        version, title = self.lock[MMCV], f"mmcv {self.lock[MMCV]}"
        options = ("--no-deps", "--force-reinstall")
        if self.mmcv_find_links:
            given = ("--no-cache-dir", "--no-index", "--only-binary", ":all:", "--find-links", self.mmcv_find_links)
            self.pip(f"{title} from {self.mmcv_find_links}", *options, *given, f"{MMCV}=={version}")
            capabilities = "prebuilt"
        else:
            folder = wheel_folder(version, torch["version"], self.version, capabilities)
            if not any(folder.glob("*.whl")):
                self.compile_mmcv(folder, capabilities, home)
            self.pip(f"{title} from {folder}", *options, str(next(folder.glob("*.whl"))))
        self.remember(mmcv=[torch["version"], capabilities, self.mmcv_record()])

    def mmcv_record(self) -> str:
        return hashlib.sha256((distributions(self.site)[MMCV] / "RECORD").read_bytes()).hexdigest()

    def has_mmcv(self, torch: str, capabilities: str) -> bool:
        """Whether the mmcv that is there is the one we put there, for this torch and for this card if there is one."""
        if not is_installed(MMCV, self.lock[MMCV], distributions(self.site)):
            return False
        theirs, built_for, record = self.state.get("mmcv", ("", "", ""))
        fits = not capabilities or built_for in (capabilities, "prebuilt")
        return fits and (theirs, record) == (torch, self.mmcv_record())

    def compile_mmcv(self, folder: Path, capabilities: str, home: Path | None) -> None:
        """Compile the wheel in a temporary folder and move it into the cache when it is finished."""
        if not shutil.which(os.environ.get("CXX", "c++")) or not (self.include / "Python.h").exists():
            raise InstallError(
                "compiling mmcv needs a C++ compiler and Python's headers: `apt install build-essential"
                f" python{self.version[0]}.{self.version[1]}-dev`; or give MMCV_FIND_LINKS, where a prebuilt wheel lies"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        for remains in folder.parent.glob("building-*"):
            if time.time() - remains.stat().st_mtime > 86400:  # of a machine that went down while compiling
                shutil.rmtree(remains, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="building-", dir=folder.parent) as temporary:
            options = ("--no-build-isolation", "--no-cache-dir", "--no-deps", "--no-binary", MMCV)
            command = [self.python, "-m", "pip", "wheel", "--verbose", "--wheel-dir", temporary, *options]
            command.append(f"{MMCV}=={self.lock[MMCV]}")
            title = f"compiling mmcv for {f'CUDA {capabilities}' if capabilities else 'the CPU'}, once on this machine"
            env = compiler_environment(capabilities, home) | {"TMPDIR": temporary}
            run(title, command, self.log, usual="5-10 minutes on 2 cores, more with CUDA", env=env)
            folder.mkdir(exist_ok=True)
            wheel = next(Path(temporary).glob("*.whl"))
            os.replace(wheel, folder / wheel.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="the environment to make or complete")
    venv = parser.parse_args().venv
    if sys.version_info < (3, 10):  # noqa: UP036  any Python may be asked to run this file
        print(f"error: {UNSUPPORTED.format(platform.python_version())}", file=sys.stderr)
        return 1
    for end in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(end) != signal.SIG_IGN:  # as under nohup
            signal.signal(end, signal.default_int_handler)
    try:
        Installer(venv, os.environ.get("TORCH_INDEX", ""), os.environ.get("MMCV_FIND_LINKS", "")).install()
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nerror: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
