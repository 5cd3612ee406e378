"""A PyTorch file that claims more than it holds is refused before torch reads it; whatever is in it, nothing is run."""

from __future__ import annotations

import collections
import datetime
import decimal
import io
import pickle
import resource
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from swinv2_dense.checkpoint import pickles
from swinv2_dense.checkpoint.pickles import check_claims, unpickle
from swinv2_dense.errors import UserError

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
FORMATS = pytest.mark.parametrize("new_format", [True, False], ids=["zip", "old"])
GIBIBYTE = 1 << 30


def refusal(path: Path) -> str:
    """The line; and that the process has not grown by a gibibyte to find it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as info:
        unpickle(path, trust=False)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GIBIBYTE
    assert "\n" not in str(info.value)
    assert str(path) in str(info.value)
    return str(info.value)


def save(content: Any, path: Path, new_format: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    return path


class _Call:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def bytearrays(size: int) -> bytes:
    return b"\x80\x02c__builtin__\nbytearray\n" + b"\x8a\x08" + size.to_bytes(8, "little") + b"\x85R."


def with_pickle(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A good archive of torch's whose data.pkl is ``data``."""
    buffer = io.BytesIO()
    torch.save(WEIGHTS, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", compression) as out:
        for entry in source.infolist():
            content = source.read(entry)
            out.writestr(entry.filename, data if entry.filename.endswith("data.pkl") else content)
    return path


@FORMATS
@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"a": torch.nn.Parameter(torch.ones(2, 3)), "b": torch.zeros(())},
        {"a": torch.ones(4, 6)[::2, 1:3], "b": torch.ones(2, 3).T, "empty": torch.zeros(0, 5)},
        {"tied": WEIGHTS["a.weight"], "again": WEIGHTS["a.weight"]},
        {"mask": torch.zeros(1).expand(4, 4)},
        {"half": torch.ones(3, dtype=torch.bfloat16), "index": torch.arange(4), "flag": torch.tensor([True])},
    ],
    ids=["plain", "parameters", "views", "tied", "small expanded", "types"],
)
def test_honest_files_are_read(content: dict[str, torch.Tensor], new_format: bool, tmp_path: Path) -> None:
    found = unpickle(save(content, tmp_path / "x.pth", new_format), trust=False)
    assert set(found) == set(content)
    assert all(torch.equal(found[key], content[key]) for key in content)


def test_float8_is_read(tmp_path: Path) -> None:
    content = {"a": torch.ones(3).to(torch.float8_e4m3fn)}
    assert torch.equal(unpickle(save(content, tmp_path / "x.pth"), trust=False)["a"].float(), torch.ones(3))


@FORMATS
def test_what_training_programs_save_beside_the_weights_does_not_matter(new_format: bool, tmp_path: Path) -> None:
    beside = {
        "loss": collections.defaultdict(list, train=[1.0]),
        "counts": collections.defaultdict(int, a=1),
        "last": collections.deque([1, 2], maxlen=2),
        "when": [datetime.datetime.now(), datetime.date.today(), datetime.timedelta(1), datetime.timezone.utc],
        "where": Path("x"),
        "id": uuid.uuid4(),
        "price": decimal.Decimal("1.5"),
        "type": float,
        "numbers": [np.float64(1), np.int32(1), np.zeros(2, np.uint8), np.array(["x"])],
    }
    found = unpickle(save({"model": WEIGHTS, **beside}, tmp_path / "x.pth", new_format), trust=False)
    assert torch.equal(found["model"]["a.bias"], WEIGHTS["a.bias"])
    # a dict that makes its values stays a dict of what it held
    assert dict(found["counts"]) == {"a": 1}


def test_weights_in_a_defaultdict_are_kept(tmp_path: Path) -> None:
    path = save(collections.defaultdict(list, WEIGHTS), tmp_path / "x.pth")
    assert torch.equal(unpickle(path, trust=False)["a.bias"], WEIGHTS["a.bias"])


@FORMATS
@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(1).expand(60000, 60000),
        _Call(torch.Tensor, 60000, 60000),
        _Call(torch.FloatTensor, 60000, 60000),
        _Call(bytearray, 20_000_000_000),
        _Call(torch.UntypedStorage, 20_000_000_000),
        [_Call(bytearray, 1 << 40)],
    ],
    ids=["expanded", "Tensor", "FloatTensor", "bytearray", "storage", "nested"],
)
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_memory_without_content_is_refused(content: Any, new_format: bool, tmp_path: Path) -> None:
    path = save({"state_dict": WEIGHTS, "x": content}, tmp_path / "x.pth", new_format)
    assert path.stat().st_size < 20_000
    assert "claims" in refusal(path)


def test_many_small_claims_add_up(tmp_path: Path) -> None:
    content = {str(i): torch.zeros(1).expand(1000, 1000) for i in range(1000)}
    assert "claims a tensor of shape (1000, 1000)" in refusal(save(content, tmp_path / "x.pth"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x06t", b"\x8a\x05\x00\x00\x00\x00\x01t"),  # elements of the storage: 6 -> 2^32
        (b"K\x02K\x03\x86", b"K\x02K\xff\x86"),  # shape 2 x 3 -> 2 x 255
        (b"K\x03K\x01\x86", b"K\xffK\x01\x86"),  # strides 3, 1 -> 255, 1
    ],
)
def test_sizes_that_the_storage_does_not_fill_are_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(WEIGHTS, buffer)
    with zipfile.ZipFile(buffer) as archive:
        data = archive.read("archive/data.pkl")
    assert data.count(old) == 1
    assert "damaged" in refusal(with_pickle(tmp_path / "x.pth", data.replace(old, new)))


def test_a_deflated_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = with_pickle(tmp_path / "x.pth", b"\x80\x02" + b"N0" * (20 << 20) + b".", zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 20
    assert "is compressed" in refusal(bomb)


def test_directories_that_claim_more_than_the_file_are_refused(tmp_path: Path) -> None:
    path = save(WEIGHTS, tmp_path / "x.pth")
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x01\x02"))
    data[entry + 20 : entry + 28] = (2_000_000_000).to_bytes(4, "little") * 2
    path.write_bytes(data)
    refusal(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02" + b")" + b"\x85" * 1_000_000 + b"}q\x00h\x00" + b"0.",  # tuples in tuples
        b"\x80\x02}" + b"(" + b")" + b"\x85" * 200_000 + b"K\x01u.",  # as a key, hashed
        b"\x80\x02" + b"]" * 200_000 + b".",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x0fN.",  # a frame of 2^60 bytes
        b"\x80\x02\x8b\xff\xff\xff\x7f1.",  # an integer of 2^31 bytes
        b"\x80\x02X\xff\xff\xff\xffabc.",  # a text of 2^32 bytes
        bytearrays(1 << 40),
        b"",
        b"\x80\x02.",
        b"\x80\x02I" + b"9" * 100_000 + b"\n.",
    ],
    ids=["nested", "key", "lists", "frame", "long", "text", "bytearray", "empty", "stack", "digits"],
)
def test_a_hostile_pickle_part_ends_in_a_line(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "_MAX_STEPS", 100_000)
    refusal(with_pickle(tmp_path / "x.pth", data))
    (tmp_path / "old.pth").write_bytes(data or b"\0")
    refusal(tmp_path / "old.pth")


def test_a_memo_of_a_high_number_takes_no_room(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert unpickle(with_pickle(tmp_path / "x.pth", b"\x80\x02Nr\xff\xff\xff\xff."), trust=False) is None
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GIBIBYTE


def test_a_refused_class_is_named(tmp_path: Path) -> None:
    line = refusal(save({"model": WEIGHTS, "hook": print}, tmp_path / "x.pth"))
    assert "would run code (builtins.print)" in line
    assert "trust=True" in line


@pytest.mark.parametrize("kind", ["sparse", "nested", "quantized"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_that_are_not_dense_are_refused_by_kind(kind: str, tmp_path: Path) -> None:
    tensor = {
        "sparse": lambda: torch.eye(3).to_sparse(),
        "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "quantized": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    }[kind]()
    assert f"holds {kind} tensors" in refusal(save({"a": tensor, **WEIGHTS}, tmp_path / "x.pth"))


def test_torchscript_and_other_archives_are_called_what_they_are(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    assert "is a TorchScript archive" in refusal(tmp_path / "script.pt")
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    assert "zip archive, but not one of torch.save's" in refusal(tmp_path / "x.npz")


def test_names_are_found_in_both_formats(tmp_path: Path) -> None:
    for new_format in (True, False):
        names = check_claims(save({"a": WEIGHTS, "b": Path("x")}, tmp_path / "x.pth", new_format))
        assert f"{type(Path()).__module__}.{type(Path()).__name__}" in names  # the module is another since Python 3.13
        assert "torch._utils._rebuild_tensor_v2" in names


def test_a_trusted_file_is_read_as_it_is(tmp_path: Path) -> None:
    save({"a": _Call(bytearray, 10)}, tmp_path / "x.pth")
    assert unpickle(tmp_path / "x.pth", trust=True) == {"a": bytearray(10)}
    assert pickle.loads(bytearrays(10)) == bytearray(10)
