"""PyTorch's own files, read without running their code and without believing what they claim.

A pickle is a program. Before torch reads one, it is run once against stand-ins: every class it names is an inert one,
and every tensor and storage it asks for is only counted. That gives the names of all classes, for an honest refusal,
and the sizes, which are compared with the size of the file. Only then does ``torch.load`` read it, with
``weights_only=True`` and nothing else.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar

import torch

from swinv2_dense.errors import UserError

__all__ = ["check_claims", "unpickle"]

_MAX_PICKLE = 256 << 20  # bytes; a log of 160,000 iterations takes some 50 MiB, all weights of a large detector 1 MiB
_MAX_STEPS = 3_000_000  # of the pickle machine; a large detector's training state takes 200,000
_MAX_NESTING = 1000  # tuples in tuples; hashing one recurses in C, without a guard
_SLACK = 16 << 20  # bytes that small expanded buffers may claim beyond the file
_NEW_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # protocol 2 writes Python 2's names
_MAGIC = 0x1950A86A20F9469CFC6C  # first object of PyTorch's format before 1.6


def unpickle(path: Path, trust: bool) -> Any:
    """What ``torch.save`` wrote, on the CPU.

    Of the classes that training programs save beside the weights, inert stand-ins are made; none is imported.

    Args:
        trust: run the code in the pickle, and believe its sizes.

    Raises:
        UserError: damaged, not PyTorch's, with code in it, or it claims more than the file holds.
    """
    names = [] if trust else check_claims(path)
    if code := next((name for name in names if not _is_known(name)), None):
        raise UserError(
            f"checkpoint {path} is a pickle that would run code ({code}); it was not run. Only if you trust its "
            "origin: load_pretrained(..., trust=True), or convert it once with `swinv2 checkpoint convert --trust`"
        )
    already = set(torch.serialization.get_safe_globals())
    stand_ins: list[Any] = [item for name in names if (item := _stand_in(name)) is not None and item not in already]
    try:
        with torch.serialization.safe_globals(stand_ins):
            mmap = zipfile.is_zipfile(path)  # the older format cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=not trust, mmap=mmap)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(f"checkpoint {path} asks for {found[1]}, which is no tensor: it was not run") from None
        raise UserError(f"checkpoint {path} is not a PyTorch checkpoint, or damaged") from None
    except Exception as error:  # whatever a damaged file, or a trusted one's own code, may raise
        raise _damaged(path, error) from None


def check_claims(path: Path) -> list[str]:
    """Compare what a PyTorch file claims with what it holds; the names of the classes and functions it asks for.

    Nothing of the file is run, and no memory is taken beyond a multiple of its pickle part.

    Raises:
        UserError: damaged, not PyTorch's, or it claims more than the file holds.
    """
    size = path.stat().st_size
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _check_archive(archive, size)
        with path.open("rb") as file:
            return _check_old_format(file, size)
    except _ClaimError as error:
        raise UserError(f"checkpoint {path} {error}") from None
    except Exception as error:  # zipfile and pickle raise anything on damaged input
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    reason = next(iter(str(error).splitlines()), "")[:200] or type(error).__name__
    return UserError(f"checkpoint {path} is truncated or not a PyTorch checkpoint ({reason})")


class _ClaimError(Exception):
    """What a file claims and does not hold; the message continues after the file's name."""


def _check_archive(archive: zipfile.ZipFile, size: int) -> list[str]:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise _ClaimError("is a TorchScript archive, a program: save the model's state_dict() with torch.save instead")
    pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise _ClaimError("is a zip archive, but not one of torch.save's (no data.pkl): name the file of the weights")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise _ClaimError("is compressed, which torch.save never does: load and save it again with PyTorch")
    if (total := sum(entry.file_size for entry in entries)) > size:
        raise _ClaimError(f"claims parts of {total:,} bytes in a file of {size:,}: it is damaged")
    if pickles[0].file_size > _MAX_PICKLE:
        raise _ClaimError(f"has {pickles[0].file_size:,} bytes beside its tensors: save the state_dict alone")
    root = pickles[0].filename.removesuffix("data.pkl")
    held = {entry.filename.removeprefix(f"{root}data/"): entry.file_size for entry in entries}
    machine = _DryRun(io.BytesIO(archive.read(pickles[0])), size, held)
    machine.load()
    return list(machine.names)


def _check_old_format(file: IO[bytes], size: int) -> list[str]:
    """One after the other: magic number, protocol, facts about the system, the content, keys, storages."""
    machine = _DryRun(file, size, None)
    magic = machine.load()
    if magic != _MAGIC:
        if unknown := [name for name in machine.names if not _is_known(name)]:
            return unknown
        raise _ClaimError("is not a PyTorch checkpoint")
    for _ in range(3):
        machine.load()
    return list(machine.names)


class _Storage:
    def __init__(self, elements: int, itemsize: int) -> None:
        self.elements, self.itemsize = elements, itemsize


class _Inert:
    """Stands in for any object: takes anything, does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return object.__new__(cls)

    def __call__(self, *_: object) -> _Inert:
        return _Inert()

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        pass

    add = append


class _Sized(_Inert):
    """A class that makes as much memory as its argument says."""

    def __new__(cls, *sizes: object, **__: object) -> _Sized:
        if any(isinstance(size, int) for size in sizes):
            raise _ClaimError(f"claims memory of size {sizes} without content: it is damaged, or made to harm")
        return object.__new__(cls)


class _Tuple(tuple[Any, ...]):
    nesting = 0


class _Reader:
    """A file that gives no more than it has, and that counts the steps of the machine that reads it."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.size, self.steps = file, size, 0

    def read(self, count: int) -> bytes:
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise _ClaimError("has more objects than a checkpoint has: save the state_dict alone")
        return self.file.read(min(count, self.size))

    def readline(self) -> bytes:
        return self.file.readline(1 << 16)


class _DryRun(pickle._Unpickler):
    """Runs a pickle with stand-ins for all that it names.

    Python's own machine in Python, not the one in C, which makes room for as many memos as the file says.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: IO[bytes], size: int, held: dict[str, int] | None) -> None:
        """``size``: of the file, in bytes. ``held``: bytes of each storage, None where the file does not say."""
        self.size, self.held = size, held
        self.names: dict[str, None] = {}
        self.expanded = 0
        self.storages: dict[str, int] = {}
        super().__init__(_Reader(file, size))

    def find_class(self, module: str, name: str) -> Any:
        full = f"{_NEW_MODULES.get(module, module)}.{name}"
        full = {"builtins.long": "builtins.int", "builtins.unicode": "builtins.str"}.get(full, full)
        self.names[full] = None
        if re.fullmatch(r"torch\._utils\._rebuild_tensor(_v[23])?", full):
            return self._tensor
        if full == "torch._tensor._rebuild_from_type_v2":
            return lambda function, _type, arguments, _state: function(*arguments)
        if re.fullmatch(r"torch\._utils\._rebuild_parameter(_with_state)?", full):
            return lambda data, *_: data
        if kind := re.fullmatch(r"torch\._utils\._rebuild_(sparse|nested|wrapper|q)\w*", full):
            word = {"q": "quantized", "wrapper": "tensor subclass"}.get(kind[1], kind[1])
            raise _ClaimError(f"holds {word} tensors: save dense ones")
        sized = full == "builtins.bytearray" or re.fullmatch(r"torch\.\S*(Tensor|Storage)", full)
        return type(name, (_Sized if sized else _Inert,), {"name": name})

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, elements = pid[:5]
        if kind != "storage" or type(elements) is not int or elements < 0:
            raise _ClaimError("refers to something that is no storage")
        itemsize = _itemsize(storage_type.name)
        claimed = elements * itemsize
        if self.held is not None and claimed > self.held.get(key, 0):
            raise _ClaimError(f"claims {claimed:,} bytes for a tensor and holds {self.held.get(key, 0):,}: damaged")
        self.storages[key] = claimed
        if self.held is None and sum(self.storages.values()) > self.size:
            raise _ClaimError(f"claims tensors of more bytes than the file has ({self.size:,}): it is truncated")
        return _Storage(elements, itemsize)

    def _tensor(self, storage: _Storage, offset: int, shape: Any, stride: Any, *rest: Any) -> _Inert:
        shape, stride = tuple(shape), tuple(stride)
        if any(type(n) is not int or n < 0 for n in (offset, *shape, *stride)) or len(shape) != len(stride):
            raise _ClaimError(f"has a tensor of shape {shape} and strides {stride}: it is damaged")
        itemsize = storage.itemsize
        if len(rest) > 2 and hasattr(rest[2], "name"):  # _v3 names the dtype; its storage is of bytes
            itemsize = _itemsize(rest[2].name)
        count = 1
        for n in shape:
            count *= n
        last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
        if count and (last + 1) * itemsize > storage.elements * storage.itemsize:
            raise _ClaimError(
                f"has a tensor of shape {shape} that its {storage.elements:,} numbers do not fill: damaged"
            )
        if count > storage.elements:  # a view that repeats its numbers; copied, it would take what it claims
            self.expanded += count * itemsize
            if self.expanded > self.size + _SLACK:
                raise _ClaimError(f"claims a tensor of shape {shape} in a file of {self.size:,} bytes")
        return _Inert()

    def _nest(self) -> None:
        top = _Tuple(self.stack[-1])  # type: ignore[attr-defined]
        top.nesting = 1 + max((item.nesting for item in top if type(item) is _Tuple), default=0)
        if top.nesting > _MAX_NESTING:
            raise _ClaimError("is nested deeper than a checkpoint is")
        self.stack[-1] = top  # type: ignore[attr-defined]


def _nested(load: Callable[[Any], None]) -> Callable[[Any], None]:
    def run(machine: Any) -> None:
        load(machine)
        machine._nest()

    return run


for _code in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3):
    _DryRun.dispatch[_code[0]] = _nested(_DryRun.dispatch[_code[0]])
del _DryRun.dispatch[pickle.FRAME[0]]  # torch does not read it, and steps within a frame are not counted


def _itemsize(name: str) -> int:
    """Bytes a number of ``FloatStorage``, ``bfloat16`` and the like."""
    try:
        dtype = torch.serialization.StorageType(name).dtype
    except KeyError:  # of bytes, or the name of a dtype itself
        dtype = getattr(torch, name, torch.uint8)
    return dtype.itemsize if isinstance(dtype, torch.dtype) else 1


# What torch reads by itself, and what training programs save beside the weights: settings, numbers, dates, paths, logs.
# Of the latter, stand-ins are made: dicts and lists where torch has to fill them.
_PLAIN = {
    *("collections.OrderedDict", "collections.Counter", "builtins.set", "builtins.complex", "builtins.bytearray"),
    "_codecs.encode",
}
_DICTS = {"yacs.config.CfgNode", "mmengine.config.config.ConfigDict", "easydict.EasyDict", "addict.addict.Dict"}
_INERT = {
    *(f"builtins.{name}" for name in ("int", "float", "str", "bool", "list", "dict", "tuple", "frozenset", "slice")),
    *(f"pathlib.{name}" for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
    *(f"pathlib._local.{name}" for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),  # of 3.13
    *("argparse.Namespace", "types.SimpleNamespace", "uuid.UUID", "decimal.Decimal", "fractions.Fraction"),
    *("builtins.getattr", "typing.Any", "copyreg._reconstructor", "builtins.object", "zoneinfo.ZoneInfo._unpickle"),
}
_INERT_MODULES = ("datetime.", "numpy.", "omegaconf.", "mmengine.logging.", "mmengine.config.")


class Settings:
    """What ``argparse.Namespace`` becomes: its attributes, without its class."""

    def __new__(cls, *_: object) -> Settings:
        return object.__new__(cls)


def _settings(*_: object) -> OrderedDict[str, Any]:
    return OrderedDict()


def _sequence(*_: object) -> list[Any]:
    return []


def _stand_in(name: str) -> tuple[Callable[..., Any], str] | None:
    if name in _DICTS:
        return OrderedDict, name
    if name in ("argparse.Namespace", "types.SimpleNamespace"):
        return Settings, name
    if name == "collections.defaultdict":
        return _settings, name
    if name == "collections.deque":
        return _sequence, name
    return (_Inert, name) if name in _INERT or name.startswith(_INERT_MODULES) else None


def _is_known(name: str) -> bool:
    return name in _PLAIN or name.startswith("torch.") or _stand_in(name) is not None
