"""Addresses, and the models of timm and Hugging Face, as files on this machine."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse
from urllib.request import url2pathname

import torch

from swinv2_dense.checkpoint.report import logger
from swinv2_dense.errors import UserError
from swinv2_dense.files import write_text

__all__ = ["downloaded", "from_hub", "is_address", "warn_of_other_content"]

_TIMEOUT = 30  # seconds without an answer
_AGENT = {"User-Agent": "swinv2_dense"}  # some hosts refuse urllib's own
# name-1a2b3c4d.pth, of torch.hub and OpenMMLab; digits alone may as well be a date or a step
_HASH = re.compile(r"-(?!\d{8}\.)([0-9a-f]{8})\.\w+$")


def is_address(source: str) -> bool:
    return re.match(r"(https?|file)://", source) is not None


def downloaded(url: str) -> Path:
    """The file at an address, fetched once and again when it has changed there.

    It lies in torch.hub's folder, under a name made of the whole address: ``model.safetensors`` of two repositories are
    two files. Whether it has changed is asked each time, by its ETag, date and size; where nobody answers, what was
    fetched before is used.

    Raises:
        UserError: the address cannot be fetched, and was not before; or its content is not what its name says.
    """
    url = urldefrag(url).url
    parts = urlparse(url)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    name = re.sub(r"[^\w.-]", "_", unquote(Path(parts.path).name))[-100:] or "checkpoint"
    folder = Path(torch.hub.get_dir()) / "checkpoints" / "swinv2_dense" / hashlib.sha256(url.encode()).hexdigest()[:24]
    path, note = folder / name, folder / "address.json"
    remote = _facts(url)
    if path.is_file():
        known = _read_note(note)
        if remote is None:
            logger().warning("%s does not answer: what was fetched before is used, %s", url, path)
            return path
        if known and all(known.get(key) == value for key, value in remote.items() if value is not None):
            return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)  # replaces when all of it has arrived
        size = path.stat().st_size
        if remote and remote["size"] and size != int(remote["size"]):
            path.unlink()
            raise UserError(f"checkpoint {url}: only {size:,} of {int(remote['size']):,} bytes arrived, fetch it again")
        if problem := _other_content(path):
            path.unlink()
            raise UserError(f"checkpoint {url}: {problem}; fetch it again, or download it and give the path")
        write_text(note, json.dumps({"url": url, **(remote or {})}))
    except (OSError, ValueError, HTTPException) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"checkpoint {url} could not be fetched ({error}): download it and give the path") from None
    return path


def warn_of_other_content(path: Path) -> None:
    """Warn where a file's name ends with a hash, as released ones do, that is not its content's."""
    if problem := _other_content(path):
        logger().warning("checkpoint %s: %s", path, problem)


def _other_content(path: Path) -> str | None:
    """What is wrong with a file whose name ends with the first digits of another SHA-256 than its content's."""
    named = _HASH.search(path.name)
    if named is None:
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    found = digest.hexdigest()[:8]
    if found == named[1]:
        return None
    return f"its SHA-256 begins with {found}, and not with {named[1]} as its name says: it is damaged, or was changed"


def _facts(url: str) -> dict[str, str | None] | None:
    """By what two versions of a file differ; None where nobody answers."""
    try:
        request = urllib.request.Request(url, method="HEAD", headers=_AGENT)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            headers = answer.headers
    except (OSError, ValueError, HTTPException):
        return None
    names = {"etag": "ETag", "date": "Last-Modified", "size": "Content-Length"}
    return {key: headers.get(name) for key, name in names.items()}


def _read_note(note: Path) -> dict[str, str | None]:
    try:
        found = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def from_hub(source: str, repository: str, patterns: list[str]) -> Path:
    """The folder of a repository of Hugging Face's hub, through that library's own cache.

    Raises:
        UserError: the library is missing, or the repository is neither cached nor to be had.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(f"checkpoint {source} needs huggingface_hub: pip install huggingface_hub") from None
    try:
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(
            f"checkpoint {source} is not in the local cache and could not be fetched ({reason}): give a path instead"
        ) from None
