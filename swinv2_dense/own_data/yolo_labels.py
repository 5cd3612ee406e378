"""Which label file belongs to which image of YOLO's data, and what is left on either side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.suffixes import IMAGES

__all__ = ["LabelFiles"]


class LabelFiles:
    """Finds label files: in the folder labels that mirrors the last folder images of the path, or beside the image."""

    def __init__(self) -> None:
        self._folders: dict[Path, list[Path]] = {}  # of images -> of labels, in order of preference
        self._files: dict[Path, dict[str, Path]] = {}  # of labels -> its files by stem

    def of(self, image: Path) -> Path | None:
        """The label file of an image, or None: there is nothing in it."""
        folders = self._label_folders(image.parent)
        return next((found for folder in folders if (found := self._listed(folder).get(image.stem))), None)

    def missing(self, images: Sequence[Path], where: str) -> list[str]:
        """A note where images have no label file.

        Raises:
            UserError: none has one.
        """
        without = [image for image in images if self.of(image) is None]
        if len(without) == len(images):
            tried = {str(folder).lower(): shown(folder) for folder in reversed([*_places(images[0].parent)])}
            places = ", ".join(reversed(tried.values()))
            raise UserError(
                f"{where}: none of the {len(images)} images has a label file; {images[0].stem}.txt is in none of "
                f"{places}: move or rename the folder of labels"
            )
        if not without:
            return []
        return [
            f"{where}: images without a label file, taken as empty: {len(without)} of {len(images)}, "
            f"the first is {shown(without[0].name)}"
        ]

    def left_over(self) -> list[str]:
        """A note where label files have no image, in the folders that were looked at."""
        images: dict[Path, set[str]] = defaultdict(set)
        for place, folders in self._folders.items():
            stems = {path.stem for path in place.iterdir() if path.suffix.lower() in IMAGES}
            for folder in folders:
                images[folder] |= stems
        left = [
            path
            for folder, stems in images.items()
            for stem, path in sorted(self._listed(folder).items())
            if stem not in stems and _holds_labels(path)
        ]
        if not left:
            return []
        return [f"label files without an image of a format that is read: {len(left)}, the first is {shown(left[0])}"]

    def _label_folders(self, place: Path) -> list[Path]:
        if place not in self._folders:
            found: dict[Path, Path] = {}  # labels and Labels may be one folder
            for folder in filter(Path.is_dir, _places(place)):
                found.setdefault(folder.resolve(), folder)
            self._folders[place] = list(found)
        return self._folders[place]

    def _listed(self, folder: Path) -> dict[str, Path]:
        if folder not in self._files:
            files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".txt")
            self._files[folder] = {path.stem: path for path in files}  # a.txt rather than a.TXT
        return self._files[folder]


def _places(folder: Path) -> Iterator[Path]:
    """Where the labels of a folder of images may be; last by the folder that it is a link to."""
    for place in dict.fromkeys((folder, folder.resolve())):
        parts = list(place.parts)
        folders = [index for index, part in enumerate(parts) if part.lower() == "images"]
        if folders:
            for name in ("labels", "Labels", "LABELS"):
                parts[folders[-1]] = name
                yield Path(*parts)
        yield place


def _holds_labels(path: Path) -> bool:
    """Whether a text file begins as one of labels, not as a list of classes or a note to readers."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            fields = file.readline(1000).split()
        return len([float(field) for field in fields]) >= 5
    except (OSError, ValueError):  # of the encoding, too
        return False
