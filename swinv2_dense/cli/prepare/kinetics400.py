"""Write the list files of Kinetics-400 from folders of clips, leaving out clips that cannot be used.

Expects ROOT/videos_train/CLASS/NAME.mp4, the same for val, and ROOT/label_map_k400.txt. Writes
ROOT/kinetics400_train_list_videos.txt, replacing an older one, and the same for val. Clips left out are listed by name.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense import extras
from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.progress import bars
from swinv2_dense.errors import UserError


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
    try:
        from swinv2_dense.cli.prepare.clip_listing import find_clips, read_label_map, write_lists
    except ImportError as error:
        raise UserError(extras.missing("reading clips", error, "video")) from error
    labels = read_label_map(args.label_map or args.root / "label_map_k400.txt")
    out = args.out or args.root
    if not args.dry_run:
        out.mkdir(parents=True, exist_ok=True)
    for split in args.splits:
        folder = args.root / f"videos_{split}"
        clips = find_clips(folder, labels)
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
            print(f"left out {folder / clip.name}: {clip.problem}")
        classes = len({clip.label for clip in clips})
        where = "not written" if list_file is None else list_file
        print(f"{split}: {len(clips) - len(bad)} clips of {classes} classes, {len(bad)} left out; {where}")
