"""Whole files or none: whatever is written appears under its name complete and on the disk, and only regular files are
read.

A writer works under another name beside the final one. What it wrote is synced, then renamed in one step, so that a
process killed at any moment leaves the old content or the new. The other name is locked while its writer lives; what
killed writers left is removed when the same name is written again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from swinv2_dense.errors import UserError

if TYPE_CHECKING:
    import numpy as np

try:
    import fcntl
except ImportError:  # Windows: what killed writers left stays
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "CannotWriteError",
    "encode_image",
    "files_below",
    "lock",
    "make_out",
    "open_regular",
    "publish",
    "read_bytes",
    "read_text",
    "remove",
    "remove_left_over",
    "save_torch",
    "shown",
    "unfinished",
    "walk",
    "within",
    "write_bytes",
    "write_figure",
    "write_image",
    "write_text",
    "write_torch",
    "writing",
    "writing_folder",
]

PathLike = str | os.PathLike[str]

_UNFINISHED = ".unfinished"
_OTHER_NAME = re.compile(r"\..+\.[0-9a-f]{12}\.unfinished(\.[^.]{1,15})?")
_LEFT_AFTER = 60  # seconds
_swept: set[Path] = set()
_LONGEST_NAME = 120  # bytes of a name that are kept in the other one, as file systems end at 255
_SYNCED_ONE_BY_ONE = 1000  # files of a folder; for more, one sync of everything is faster
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class CannotWriteError(UserError, OSError):
    """A file that could not be written. Nothing of it is left, and what had its name before still has it.

    It is an ``OSError`` as well, with ``errno`` and ``strerror`` where the system gave them.
    """

    def __init__(self, message: str, number: int | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.errno, self.strerror = number, reason

    def __str__(self) -> str:  # OSError's shows the number instead of the message
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.errno, self.strerror)


def shown(path: object, longest: int = 200) -> str:
    """A path or another text of a user for a message: control characters escaped, the middle left out where long."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(path))
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]}...{text[-longest // 2 :]} ({len(text)} characters)"


# ---- writing


@contextmanager
def writing(path: PathLike) -> Iterator[Path]:
    """Yields the path of an empty file to fill, with the extension of ``path``. It takes the name ``path`` when the
    block ends without an error.

    Raises:
        CannotWriteError: no room, no right, no such folder, or ``path`` is a folder, a device or the like.
    """
    path = Path(path)
    with _explained(path) as working:
        _check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        place = _other_name(path)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        working.append(place)
        with _closing(descriptor):
            lock(descriptor)
            yield place
            _sync(place)
            os.replace(place, path)
        _sync_folder(path.parent)


@contextmanager
def writing_folder(path: PathLike, *, replace: bool = False) -> Iterator[Path]:
    """Yields an empty folder to fill, which takes the name ``path`` when the block ends without an error.

    Args:
        replace: a folder that has the name is removed then; otherwise it must not exist, or be empty.

    Raises:
        CannotWriteError: as :func:`writing`, or ``path`` is there.
    """
    path = Path(path)
    with _explained(path) as working:
        if path.exists() and not path.is_dir():
            raise CannotWriteError(f"{shown(path)} is a file, where a folder is to be written: name another place")
        if path.is_dir() and not replace and any(path.iterdir()):
            raise CannotWriteError(f"{shown(path)} is a folder that is not empty: name another place to write")
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        place = _other_name(path)
        place.mkdir()
        working.append(place)
        with _closing(_open_folder(place)) as descriptor:
            lock(descriptor)
            yield place
            _sync_tree(place)
            _take_name(place, path)
        _sync_folder(path.parent)


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write a file as a whole or not at all. Raises as :func:`writing`."""
    with writing(path) as place, place.open("wb") as file:
        file.write(content)


def write_text(path: PathLike, text: str) -> None:
    """Write a UTF-8 file as a whole or not at all. Raises as :func:`writing`."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_image(path: PathLike, image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Write an image as a whole or not at all. Takes and raises what :func:`encode_image` and :func:`writing` do."""
    write_bytes(path, encode_image(path, image, options))


def encode_image(path: PathLike, image: np.ndarray, options: Sequence[int] = ()) -> bytes:
    """The content of an image file, by OpenCV, in the format of the name's extension: for a folder that is itself
    written as a whole.

    Args:
        image: H x W or H x W x 3 (BGR), of a dtype that the format takes.
        options: of ``cv2.imencode``, such as ``(cv2.IMWRITE_JPEG_QUALITY, 95)``.

    Raises:
        CannotWriteError: OpenCV cannot encode it.
    """
    import cv2

    suffix = Path(path).suffix
    if not suffix or not cv2.haveImageWriter(f"a{suffix}"):
        raise CannotWriteError(f"{shown(path)} ends like no image that can be written: end its name with .png or .jpg")
    try:
        done, encoded = cv2.imencode(suffix, image, list(options))
    except cv2.error as error:
        done, reason = False, str(error).strip().splitlines()[-1]
    else:
        reason = "unknown reason"
    if not done:
        raise CannotWriteError(f"{shown(path)} cannot be encoded by OpenCV ({reason})")
    return bytes(encoded)


def write_figure(path: PathLike, figure: Any, dpi: int) -> None:
    """Write a matplotlib figure as PNG, as a whole or not at all. Raises as :func:`writing`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with writing(path) as place, place.open("wb") as file:
        FigureCanvasAgg(figure).print_figure(file, dpi=dpi, format="png")


def write_torch(path: PathLike, content: Any) -> None:
    """Write what ``torch.save`` takes as a whole or not at all, without a copy in memory. Raises as :func:`writing`."""
    with writing(path) as place:
        save_torch(place, content)


def save_torch(path: PathLike, content: Any) -> None:
    """``torch.save`` to a file that is being written, whose errors are those of the file."""
    import torch

    with Path(path).open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's writer, of what the file raised
            cause = error.__cause__ or error.__context__
            raise cause if isinstance(cause, OSError) else OSError(str(error).splitlines()[0]) from error


def unfinished(path: PathLike) -> Path:
    """The name under which several processes write one file or folder together, until one of them publishes it."""
    path = Path(path)
    return path.with_name(f".{path.name}{_UNFINISHED}")


def publish(path: PathLike) -> None:
    """Sync what was written as :func:`unfinished`, a file or a folder, and give it its name.

    Raises:
        CannotWriteError: as :func:`writing`.
    """
    path = Path(path)
    part = unfinished(path)
    with _explained(path) as working:
        working.append(part)
        _sync_tree(part)
        _take_name(part, path)
        _sync_folder(path.parent)


def remove(path: PathLike) -> None:
    """Remove a file or a folder with all that it holds, if it is there. Of a link the link goes, not its target."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def lock(descriptor: int) -> bool:
    """Lock an open file or folder for as long as it is open. Returns whether no other process holds it; a file system
    without locks says yes."""
    try:
        return _locked(descriptor)
    except OSError:
        return True


def _locked(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _explained(path: Path) -> Iterator[list[Path]]:
    """What fails in writing ``path`` is one line that names it. Yields a list for what is removed then."""
    working: list[Path] = []
    try:
        yield working
    except BaseException as error:
        for place in working:
            with contextlib.suppress(OSError):
                remove(place)
        if isinstance(error, CannotWriteError) or not isinstance(error, OSError) or not _is_of(error, path, working):
            raise
        reason = error.strerror or str(error)
        raise CannotWriteError(
            f"{shown(path)} cannot be written ({reason}): {_remedy(error)}", error.errno, reason
        ) from error


def _is_of(error: OSError, path: Path, working: list[Path]) -> bool:
    """Whether an error is of the file that is written, and not of one that is read meanwhile."""
    if error.filename is None or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        return True
    named = Path(os.fsdecode(error.filename))
    return any(named == place or place in named.parents or named in place.parents for place in (path, *working))


def _remedy(error: OSError) -> str:
    return "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name another place"


def _check_replaceable(path: Path) -> None:
    """Whatever is no regular file, such as /dev/null, would be replaced by one."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
            raise CannotWriteError(f"{shown(path)} is {kind}: name another file to write")


def _other_name(path: Path) -> Path:
    """A name beside ``path`` that nobody else has, with the same extension, which many writers go by."""
    name, length = path.name, len(os.fsencode(path.name))
    if _LONGEST_NAME < length <= 255:  # a name that is too long stays so: the system says it
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    suffix = path.suffix if 1 < len(path.suffix) <= 16 else ""
    return path.with_name(f".{name}.{os.urandom(6).hex()}{_UNFINISHED}{suffix}")


def remove_left_over(folder: PathLike, older_than: float = _LEFT_AFTER) -> None:
    """Remove what killed writers left in a folder, of whatever name: what nobody holds locked.

    Args:
        older_than: seconds; what is younger stays, as its writer may be about to lock it.
    """
    with contextlib.suppress(OSError):
        for left in Path(folder).iterdir():
            if _OTHER_NAME.fullmatch(left.name):
                with contextlib.suppress(OSError):
                    _remove_if_left(left, older_than)


def _sweep(folder: Path) -> None:
    folder = folder.resolve()
    if folder not in _swept:  # a folder may hold many files, and many may be written to it
        _swept.add(folder)
        remove_left_over(folder)


def _remove_if_left(path: Path, older_than: float) -> None:
    status = path.lstat()
    if fcntl is None or time.time() - status.st_mtime < older_than:
        return
    with _closing(os.open(path, os.O_RDONLY if stat.S_ISDIR(status.st_mode) else os.O_RDWR | os.O_NOFOLLOW)) as file:
        if _locked(file):
            remove(path)


def _take_name(place: Path, path: Path) -> None:
    """Rename; a folder that has the name goes aside first, as no system call replaces a full one."""
    if not (place.is_dir() and path.is_dir()):
        os.replace(place, path)
        return
    aside = _other_name(path)
    os.replace(path, aside)
    try:
        os.replace(place, path)
    except OSError:
        os.replace(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _sync_tree(path: Path) -> None:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    if len(files) > _SYNCED_ONE_BY_ONE and hasattr(os, "sync"):
        os.sync()
        return
    for file in files:
        _sync(file)


def _sync(path: Path) -> None:
    with _closing(os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)) as descriptor:
        os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    """Bring a renaming to the disk, where folders can be opened and synced."""
    with contextlib.suppress(OSError), _closing(_open_folder(path)) as descriptor:
        os.fsync(descriptor)


def _open_folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY) if fcntl is not None else -1


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        if descriptor >= 0:
            os.close(descriptor)


# ---- reading


def open_regular(path: PathLike, what: str = "file") -> BinaryIO:
    """Open a regular file for reading bytes. A named pipe or a device, which may give data for ever or none, is refused
    without waiting.

    Args:
        what: what it should be, for the message, such as 'annotation file'.

    Raises:
        UserError: it does not exist, cannot be read, or is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise UserError(f"{what} {shown(path)} does not exist") from error
    except IsADirectoryError as error:  # Windows says PermissionError
        raise UserError(f"{what} {shown(path)} is a folder, not a file") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{what} {shown(path)} cannot be read ({reason})") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise UserError(f"{what} {shown(path)} is {kind}, not a regular file")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: PathLike, what: str = "file", *, at_most: int | None = None) -> bytes:
    """The content of a regular file. Raises as :func:`open_regular`.

    Args:
        at_most: bytes; a larger file is refused.
    """
    with open_regular(path, what) as file:
        try:
            content = file.read(-1 if at_most is None else at_most + 1)
        except OSError as error:
            raise UserError(f"{what} {shown(path)} cannot be read ({error.strerror or error})") from error
    if at_most is not None and len(content) > at_most:
        raise UserError(f"{what} {shown(path)} is larger than {at_most:,} bytes, which no such file is")
    return content


def read_text(path: PathLike, what: str = "file", *, at_most: int | None = None) -> str:
    """The text of a regular UTF-8 file, with or without a byte order mark; line ends become ``\\n``.

    Raises:
        UserError: as :func:`open_regular`, or it is in another encoding.
    """
    content = read_bytes(path, what, at_most=at_most)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{what} {shown(path)} is UTF-16: save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{what} {shown(path)} is not UTF-8 (line {line}): save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def walk(
    folder: PathLike, *, dotted: bool = False, above: frozenset[str] = frozenset()
) -> Iterator[tuple[str, list[str]]]:
    """A folder and all folders in it, each with the names of its files, sorted. Links to folders are followed, but for
    those that lead to a folder in which they lie (``above``), whose files would be there again and again.

    Args:
        dotted: also folders whose names begin with a dot.

    Raises:
        UserError: a folder that cannot be read, whose files would be missed.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"{shown(folder)} cannot be read ({error.strerror or error}): make it readable, or take it away"
        ) from error
    yield os.fspath(folder), [entry.name for entry in entries if not entry.is_dir()]
    for entry in entries:
        if entry.is_dir() and (dotted or not entry.name.startswith(".")):
            yield from walk(os.path.join(folder, entry.name), dotted=dotted, above=above | {real})


def files_below(folder: PathLike) -> Iterator[Path]:
    """Files in a folder and all folders in it, as :func:`walk` finds them; none whose name begins with a dot."""
    for place, names in walk(folder):
        yield from (Path(place, name) for name in names if not name.startswith("."))


def within(folder: PathLike, name: str, what: str = "name") -> Path:
    """The path of ``name`` in ``folder``, where ``name`` comes from a file that somebody else made.

    Raises:
        UserError: it leads out of the folder, or is no name of a file.
    """
    # On every system, as files travel: a drive or backslashes mean elsewhere on Windows.
    parts = name.replace("\\", "/").split("/")
    depth = 0
    for part in parts:
        depth += 0 if part in ("", ".") else -1 if part == ".." else 1
        if depth < 0:
            break
    absolute = name.startswith(("/", "\\")) or os.path.isabs(name) or name[1:3] in (":/", ":\\")
    if absolute or depth < 1 or "\0" in name:
        raise UserError(f"{what} {shown(name)!r} leads out of the folder {shown(folder)}, or names no file: correct it")
    return Path(folder, name)


def make_out(folder: Path, option: str = "--out") -> None:
    """Make the folder of an option where it is missing, before anything is computed for it.

    Raises:
        UserError: it cannot be made, or nothing may be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option} {shown(folder)} cannot be made ({error.strerror}): name another folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{option} {shown(folder)}: nothing may be written in this folder, name another")
