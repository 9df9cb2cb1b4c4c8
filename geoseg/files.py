"""Files in and out: what may be read, and products that appear only when they are complete."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from geoseg.errors import AnnotationError, GeosegError, OutputError, SceneError

# a URL (of which pathlib leaves one slash), a virtual path of GDAL's, or a description instead of a file
_REMOTE = re.compile(r"\w{2,}:/|/vsi|<")

_STATE = ("ETag", "Last-Modified", "Content-Length")

_SERVER = re.compile(r"(https?|s3|gs|az)://")

_COMPANIONS = (".aux.xml", ".ovr", ".ovr.tmp", ".msk", "-journal", "-wal", "-shm", ".tmp_rtree*")


class Url(str):
    """The address of a file on a server, for which leave to ask it has been given."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """As a path's."""
        return PurePosixPath(urlsplit(self).path).name


def state_of(url: Url) -> str:
    """What changes when the file at an address does, as far as its server tells."""
    if not url.startswith("http"):
        return ""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=20) as answer:
            told = [answer.headers.get(name, "") for name in _STATE]
    except (OSError, ValueError):
        return ""
    return " ".join(told)


Source = Path | Url
"""Where a scene is."""


def source(text: str | os.PathLike[str], *, allow_remote: bool = False) -> Source:
    """A Url for what begins as one, if that is allowed, else a Path."""
    if isinstance(text, Url):
        return text
    text = os.fspath(text)
    return Url(text) if allow_remote and _SERVER.match(text) else Path(text)


def input_file(path: str | os.PathLike[str], error: type[GeosegError] = SceneError) -> Path:
    """The path of a readable regular file, or `error`.

    URLs, GDAL's virtual paths and inline XML are no files, and a pipe or a device is refused before anybody
    waits for it.
    """
    text = os.fspath(path)
    file = Path(text)
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError) as fault:
        if _REMOTE.match(text):
            raise error(
                f"{text}: not a file on this machine. geoseg reads local files, "
                "and GeoTIFFs from https:// or s3:// with --allow-remote"
            ) from fault
        reason = fault.strerror if isinstance(fault, OSError) else str(fault)
        raise error(f"{text}: cannot be read ({reason}). check the path") from fault
    if stat.S_ISDIR(mode):
        raise error(f"{text}: is a folder, not a file. name a file in it")
    if not stat.S_ISREG(mode):
        raise error(f"{text}: is not a regular file. copy the data to a file first")
    if not os.access(file, os.R_OK):
        raise error(f"{text}: no permission to read it. check its permissions")
    if file.stat().st_size == 0:
        raise error(f"{text}: is empty. the copy or download may have failed")
    return file


def check_output(output: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError now if `output` could not be written later."""
    if output.is_dir():
        raise OutputError(f"{output}: is a folder. name a file")
    if output.exists() and not output.is_file():
        raise OutputError(f"{output}: is not a regular file. name another output")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: exists already. choose another name or use --overwrite")
    check_parent(output, output.parent)


def check_parent(output: Path, parent: Path) -> None:
    """Raise OutputError now if nothing could be written into `parent`, where `output` is to lie."""
    if not parent.is_dir():
        raise OutputError(f"{output}: its folder does not exist. create {str(parent)!r} first")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"{output}: no permission to write in its folder. choose another")


@contextmanager
def replacing(output: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A scratch path beside `output` that takes its name when the block ends well, and vanishes when it does
    not.

    Raises OutputError when `output` exists (and `overwrite` is off) or cannot be written, also when the disk
    is full.
    """
    check_output(output, overwrite=overwrite)
    scratch = output.with_name(f".{output.stem[:80]}.{uuid.uuid4().hex[:8]}.part{output.suffix}")
    try:
        yield scratch
        scratch.chmod(0o666 & ~_umask())  # some writers make their files private
        _sync(scratch)
        os.replace(scratch, output)
        if os.name == "posix":
            _sync(output.parent)
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutputError(
                f"{output}: the disk is full. free some space or choose another disk"
            ) from fault
        if fault.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise OutputError(
                f"{output}: cannot be written ({fault.strerror}). choose another folder"
            ) from fault
        raise
    finally:
        discard(scratch)


def discard(path: Path) -> None:
    """Remove a file and what GDAL and SQLite leave beside it."""
    path.unlink(missing_ok=True)
    for companion in _COMPANIONS:
        for left_over in path.parent.glob(_escaped(path.name) + companion):
            left_over.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented UTF-8 JSON, replacing what was there."""
    with replacing(path, overwrite=True) as scratch:
        scratch.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_lines(path: Path, lines: Iterable[Any]) -> None:
    """Write JSON lines, replacing what was there."""
    with replacing(path, overwrite=True) as scratch:
        scratch.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Vector files that hold their data themselves.

_BEGINNINGS = (b"SQLite format 3\0", b"fgb", b"PAR1", b"{", b"\0\0\x27\x0a")
"""Of GeoPackage, FlatGeobuf, GeoParquet, GeoJSON and Shapefile. GDAL opens many more by what they hold, some of
which only say where data are: in another file, or on a server."""


def vector_file(path: str | os.PathLike[str], error: type[GeosegError] = AnnotationError) -> Path:
    """The path of a GeoPackage, GeoJSON, FlatGeobuf, GeoParquet or Shapefile, or `error`."""
    file = input_file(path, error)
    with file.open("rb") as opened:
        head = opened.read(64).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not head.startswith(_BEGINNINGS):
        raise error(
            f"{file}: is no GeoPackage, GeoJSON, FlatGeobuf, GeoParquet or Shapefile. "
            "save it as a GeoPackage: Export in QGIS"
        )
    return file


def is_parquet(file: Path) -> bool:
    """True for GeoParquet, which pyogrio does not read."""
    return file.suffix.lower() in (".parquet", ".geoparquet")
