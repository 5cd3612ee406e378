"""Write the list files of Kinetics-400 from folders of clips, leaving out clips that cannot be used.

Expects ROOT/videos_train/CLASS/NAME.mp4, the same for val, and ROOT/label_map_k400.txt. Writes
ROOT/kinetics400_train_list_videos.txt, replacing an older one, and the same for val. Clips left out are listed by name.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from swinv2_dense import extras
from swinv2_dense.checks.overlap import in_both
from swinv2_dense.checks.summary import show_table
from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.progress import bars
from swinv2_dense.errors import UserError
from swinv2_dense.files import make_out, shown

if TYPE_CHECKING:
    from swinv2_dense.cli.prepare.clip_listing import Clip

LISTED_CLASSES = 100  # of more, no table is printed


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("prepare kinetics400", __doc__, ("data/kinetics400 --dry-run",))
    root = os.environ.get("K400_ROOT", "data/kinetics400")
    parser.add_argument("root", type=Path, nargs="?", default=root, help="folder of the data (default: $K400_ROOT)")
    parser.add_argument("--splits", nargs="+", choices=["train", "val"], default=["train", "val"])
    parser.add_argument("--label-map", type=Path, metavar="FILE", help="default: ROOT/label_map_k400.txt")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write the lists (default: ROOT)")
    parser.add_argument(
        "--min-frames", type=int, default=16, metavar="N", help="leave out clips of fewer frames (default: 16)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes that read clips")
    parser.add_argument("--dry-run", action="store_true", help="check and report, write nothing")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.workers < 1:
        raise UserError(f"--workers {args.workers}: give a number from 1 on")
    try:
        from swinv2_dense.cli.prepare.clip_listing import find_clips, other_files, read_label_map, write_lists
    except ImportError as error:
        raise UserError(extras.missing("reading clips", error, "video")) from error
    labels = read_label_map(args.label_map or args.root / "label_map_k400.txt")
    out = args.out or args.root
    folders = {split: args.root / f"videos_{split}" for split in args.splits}
    found = {split: find_clips(folder, labels) for split, folder in folders.items()}
    if not args.dry_run:
        make_out(out)
    for split, folder in folders.items():
        clips = found[split]
        list_file = None if args.dry_run else out / f"kinetics400_{split}_list_videos.txt"
        with bars() as progress:
            bad = write_lists(
                folder,
                clips,
                list_file,
                min_frames=args.min_frames,
                workers=args.workers,
                progress=progress,
            )
        for clip in bad:
            print(f"left out {shown(folder / clip.name)}: {clip.problem}")
        if other := other_files(folder):
            print(f"{len(other)} files in {folder} are no videos by their suffix, the first {shown(other[0])}")
        left_out = {clip.name for clip in bad}
        kept = Counter(clip.label for clip in clips if clip.name not in left_out)
        classes = len(kept)
        where = "not written" if list_file is None else list_file
        print(f"{split}: {len(clips) - len(bad)} clips of {classes} classes, {len(bad)} left out; {where}")
        if len(labels) <= LISTED_CLASSES:
            rows = [(name, f"{kept[label]:,}", "") for name, label in labels.items()]
            show_table(("class", "clips", ""), rows)
        if missing := [name for name, label in labels.items() if not kept[label]]:
            print(f"warning: {split} has no clip of {len(missing)} of {len(labels)} classes, the first {missing[0]}")
    _warn_of_overlap(folders, found)


def _warn_of_overlap(folders: Mapping[str, Path], found: Mapping[str, Sequence[Clip]]) -> None:
    (first, clips), *others = found.items()
    for split, compared in others:
        names = {clip.name for clip in clips}.intersection(clip.name for clip in compared)
        if shared := in_both(folders[first], folders[split], names):
            print(
                f"warning: {len(shared)} clips are in {first} and in {split}, the first {shown(shared[0])}: take them "
                "out of one, as scores on what was trained on say nothing"
            )
