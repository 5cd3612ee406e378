"""The programs of ``test_fuzz.py``: each kind of file is mutated, seeded, and read in a process of its own.

``python -m tests.fuzz KIND FOLDER COUNT`` prints what ended in anything but a result or one line, and the peak memory.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import sys
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.checks.clips import read_class_names, read_clip_list
from swinv2_dense.checks.coco import check_coco_file
from swinv2_dense.cli import common
from swinv2_dense.cli.prepare.coco_convert import write_semantic_maps
from swinv2_dense.engine.runner.run_record import LAST, RunRecord, held, write_record
from swinv2_dense.engine.runner.training_state import choose, read_training_state, write_training_state
from swinv2_dense.files import remove, write_image
from swinv2_dense.models import SwinTransformerV2

SECONDS = 20  # for one mutant
ARCH = dict(embed_dims=8, depths=(1, 1), num_heads=(1, 1))
ODD = (
    *(
        None,
        True,
        -1,
        0,
        2**63,
        10**400,
        1e9,
        float("nan"),
        float("inf"),
        "",
        "x" * 5000,
        "\ud800",
        "../../a",
        "\x1b[31m",
    ),
    *([], {}, [[]], [1e9] * 6, {"size": [10**9, 10**9], "counts": "a"}, {"size": [4, 4], "counts": [10**9]}),
)


def mutate(rng: random.Random, content: bytes) -> bytes:
    """A few bytes changed, cut off, put in, repeated or enlarged."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(max(len(data), 1))
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randrange(1, 40))
        elif kind == 3:
            data[at:at] = data[at : at + rng.randrange(1, 400)]
        elif kind == 4:
            data[at : at + 4] = rng.choice((b"\xff\xff\xff\x7f", b"\x00" * 4, b"9999", b"-1e9", b"\n\n\n\n"))
        elif kind == 5:
            del data[at : at + rng.randrange(1, 60)]
        else:
            other = rng.randrange(max(len(data), 1))
            data[at : at + 8], data[other : other + 8] = data[other : other + 8], data[at : at + 8]
    return bytes(data)


def mutate_json(rng: random.Random, content: bytes) -> bytes:
    """Some values replaced by odd ones, or some bytes changed."""
    if rng.random() < 0.3:
        return mutate(rng, content)
    tree = json.loads(content)
    for _ in range(rng.choice((1, 2, 4))):
        node, key = tree, None
        while isinstance(node, (dict, list)) and node and (key is None or rng.random() < 0.85):
            parent, key = node, rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
            node = parent[key]
        if key is None:
            continue
        if rng.random() < 0.2:
            del parent[key]
        else:
            parent[key] = rng.choice(ODD)
    return json.dumps(tree).encode()


def mutate_pickle(rng: random.Random, content: bytes, path: Path) -> None:
    """The pickle part of a checkpoint changed, with the right checksum; or the file as it is."""
    if rng.random() < 0.4:
        path.write_bytes(mutate(rng, content))
        return
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, mutate(rng, part) if name.endswith("/data.pkl") else part)


def model() -> SwinTransformerV2:
    return SwinTransformerV2(ARCH, window_size=2, out_indices=(0, 1))


def good_checkpoint(path: Path) -> None:
    hub = {"log_scalars": {}, "runtime_info": {"iter": 4}, "resumed_keys": {"iter": True}}
    optimizer = {"state": {0: {"step": torch.ones(()), "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    meta = {"iter": 4, "epoch": 0, "seed": 3, "run_id": "a"}
    state = {"state_dict": model().state_dict(), "meta": meta, "optimizer": optimizer, "message_hub": hub}
    write_training_state(path, state)


def checkpoints(folder: Path) -> Callable[[random.Random], list[Callable[[], Any]]]:
    path = folder / "iter_4.pth"
    good_checkpoint(path)
    content, target = path.read_bytes(), model()

    def doors(rng: random.Random) -> list[Callable[[], Any]]:
        mutate_pickle(rng, content, path)
        return [
            lambda: read_training_state(str(path)),
            lambda: choose(folder),
            lambda: load_pretrained(target, str(path)),
        ]

    return doors


def safetensors(folder: Path) -> Callable[[random.Random], list[Callable[[], Any]]]:
    from safetensors.torch import save_file

    path, target = folder / "model.safetensors", model()
    save_file({name: tensor.contiguous() for name, tensor in target.state_dict().items()}, path)
    content = path.read_bytes()
    header = content[: 8 + int.from_bytes(content[:8], "little")]

    def doors(rng: random.Random) -> list[Callable[[], Any]]:
        changed = mutate_json(rng, header[8:]) if rng.random() < 0.6 else None
        if changed is not None:
            path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[len(header) :])
        else:
            path.write_bytes(mutate(rng, content))
        return [lambda: load_pretrained(target, str(path))]

    return doors


def configs(folder: Path) -> Callable[[random.Random], list[Callable[[], Any]]]:
    good = {"model": {"type": "A", "backbone": {"window_size": [8, 8]}}, "train_dataloader": {"batch_size": 2}}
    texts = {
        ".json": json.dumps({**good, "_base_": []}).encode(),
        ".yaml": b"_base_: []\nmodel: &m\n  type: A\n  depths: [2, 2]\nother: *m\ntrain_cfg: {max_iters: 10}\n",
        ".py": b"model = dict(type='A', depths=(2, 2))\nbatch = {{'$FUZZ_BATCH:2'}}\nroot = '{{$FUZZ_ROOT:data}}/a'\n",
    }

    def doors(rng: random.Random) -> list[Callable[[], Any]]:
        suffix = rng.choice(list(texts))
        path = folder / f"config{suffix}"
        path.write_bytes(mutate_json(rng, texts[suffix]) if suffix == ".json" else mutate(rng, texts[suffix]))
        args = argparse.Namespace(config=str(path), cfg_options=None, launcher="none", work_dir=None, local_rank=0)
        return [lambda: common.load_config(args)]

    return doors


def work_dirs(folder: Path) -> Callable[[random.Random], list[Callable[[], Any]]]:
    path = folder / "iter_4.pth"
    good_checkpoint(path)
    write_record(folder, RunRecord("a", str(path)))
    (folder / LAST).write_text(str(path))
    contents = {
        name: (folder / name).read_bytes() for name in (LAST, "run.json", "run.lock") if (folder / name).exists()
    }

    def enter() -> None:
        with held(folder):
            choose(folder)

    def doors(rng: random.Random) -> list[Callable[[], Any]]:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        name = rng.choice(list(contents))
        (folder / name).write_bytes(mutate(rng, contents[name]))
        return [enter]

    return doors


def annotations(folder: Path) -> Callable[[random.Random], list[Callable[[], Any]]]:
    file, images = folder / "annotations" / "instances_train.json", folder / "train"
    file.parent.mkdir()
    images.mkdir()
    polygon = [2.0, 2.0, 20.0, 2.0, 20.0, 20.0]
    lengths = {"size": [24, 32], "counts": [100, 20, 648]}
    common_fields = {"image_id": 1, "category_id": 1, "area": 100.0, "bbox": [2.0, 2.0, 18.0, 18.0]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 24, "width": 32}],
        "annotations": [
            {**common_fields, "id": 1, "iscrowd": 0, "segmentation": [polygon]},
            {**common_fields, "id": 2, "iscrowd": 1, "segmentation": lengths},
            {**common_fields, "id": 3, "iscrowd": 0, "segmentation": {"size": [24, 32], "counts": "PP1l0"}},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    good = json.dumps(content).encode()
    write_image(images / "a.png", np.zeros((24, 32, 3), np.uint8))

    def maps() -> None:
        try:
            write_semantic_maps(folder, "train")
        finally:
            remove(folder / "stuffthingmaps")

    def doors(rng: random.Random) -> list[Callable[[], Any]]:
        file.write_bytes(mutate_json(rng, good))
        return [lambda: check_coco_file(file, images), maps]

    return doors


def clip_lists(folder: Path) -> Callable[[random.Random], list[Callable[[], Any]]]:
    path = folder / "clips.txt"
    good = "".join(f"class {number}/a clip {number}.mp4 {number}\n" for number in range(9)).encode()

    def doors(rng: random.Random) -> list[Callable[[], Any]]:
        path.write_bytes(mutate(rng, good))
        return [lambda: read_clip_list(path, 9, prefix="clips"), lambda: read_class_names(path)]

    return doors


KINDS = {
    "annotations": annotations,
    "clip_lists": clip_lists,
    "checkpoints": checkpoints,
    "safetensors": safetensors,
    "configs": configs,
    "work_dirs": work_dirs,
}


def main(kind: str, folder: str, count: str) -> None:
    doors = KINDS[kind](Path(folder))
    bad, lines = [], 0

    def hangs(*_: Any) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGALRM, hangs)
    for seed in range(int(count)):
        for number, door in enumerate(doors(random.Random(f"{kind} {seed}"))):
            signal.alarm(SECONDS)
            try:
                door()
            except Exception as error:
                line = common.explain(error)
                lines += 1
                if line is None or "\n" in line or len(line) > 4000 or isinstance(error, TimeoutError):
                    bad.append(f"seed {seed} door {number}: {traceback.format_exc(limit=-3)}")
            finally:
                signal.alarm(0)
    # Not getrusage's, which a process inherits from the one that started it.
    status = Path("/proc/self/status")
    lines_of_status = status.read_text().splitlines() if status.exists() else []
    kib = next((int(line.split()[1]) for line in lines_of_status if line.startswith("VmHWM")), None)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if kib is None else kib) / 2**20
    print(json.dumps({"bad": bad[:5], "count": len(bad), "lines": lines, "peak GiB": round(peak, 2)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
