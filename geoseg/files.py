"""Input files, checked before they are opened, and output files that appear only when complete."""

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
from geoseg.system import sync_file, sync_folder

# a URL (pathlib collapses its slashes to one), a virtual path of GDAL, or inline XML
_NOT_LOCAL = re.compile(r"\w{2,}:/|/vsi|<")
_REMOTE = re.compile(r"(https?|s3|gs|az)://")
_VERSION_HEADERS = ("ETag", "Last-Modified", "Content-Length")
_SIDECARS = (".aux.xml", ".ovr", ".ovr.tmp", ".msk", "-journal", "-wal", "-shm", ".tmp_rtree*")
_NO_PERMISSION = (errno.EACCES, errno.EROFS, errno.EPERM)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, an exceeded quota and a file too large for its file system."""

_VECTOR_SIGNATURES = (b"SQLite format 3\0", b"fgb", b"PAR1", b"{", b"\0\0\x27\x0a")
"""First bytes of GeoPackage, FlatGeobuf, GeoParquet, GeoJSON and Shapefile. GDAL detects many more formats, some of
which only refer to data in another file or on a server."""


# Inputs


class Url(str):
    """Address of a file on a server that the user allowed to read."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Last component of the path."""
        return PurePosixPath(urlsplit(self).path).name


ScenePath = Path | Url
"""Location of a scene: a local file, or a URL."""


def scene_path(text: str | os.PathLike[str], *, allow_remote: bool = False) -> ScenePath:
    """Return a Url for an http(s), s3, gs or az address if `allow_remote`, else a Path."""
    if isinstance(text, Url):
        return text
    text = os.fspath(text)
    return Url(text) if allow_remote and _REMOTE.match(text) else Path(text)


def read_remote_version(url: Url) -> str:
    """Return the headers that change with the file at `url`, or "" if the server sends none."""
    if not url.startswith("http"):
        return ""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=20) as response:
            return " ".join(response.headers.get(name, "") for name in _VERSION_HEADERS)
    except (OSError, ValueError):
        return ""


def input_file(path: str | os.PathLike[str], error: type[GeosegError] = SceneError) -> Path:
    """Return the path of a readable regular file that is not empty.

    Parameters
    ----------
    path
        Path of a local file. URLs, GDAL's virtual paths and inline XML are refused.
    error
        Type of the exception to raise.

    Raises
    ------
    GeosegError
        Of type `error`, if there is no such file. Pipes and devices are refused without opening them.
    """
    text = os.fspath(path)
    file = Path(text)
    try:
        status = file.stat()
    except (OSError, ValueError) as fault:
        if _NOT_LOCAL.match(text):
            raise error(
                f"{text}: not a local file. Pass local files, or --allow-remote to read "
                "GeoTIFFs from https:// or s3://"
            ) from fault
        reason = fault.strerror if isinstance(fault, OSError) else str(fault)
        raise error(f"{text}: cannot be read ({reason}). Check the path") from fault
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{text}: is a folder, not a file. Name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{text}: is not a regular file. Copy the data to a file first")
    if not os.access(file, os.R_OK):
        raise error(f"{text}: no permission to read it. Check its permissions")
    if status.st_size == 0:
        raise error(f"{text}: is empty. Copy or download it again")
    return file


def vector_file(path: str | os.PathLike[str], error: type[GeosegError] = AnnotationError) -> Path:
    """Return the path of a GeoPackage, GeoJSON, FlatGeobuf, GeoParquet or Shapefile.

    Raises `error` if it is none of these, judged by its first bytes.
    """
    file = input_file(path, error)
    with file.open("rb") as opened:
        head = opened.read(64).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not head.startswith(_VECTOR_SIGNATURES):
        raise error(
            f"{file}: not a GeoPackage, GeoJSON, FlatGeobuf, GeoParquet or Shapefile. "
            "Save it as a GeoPackage: Export in QGIS"
        )
    return file


def is_parquet(file: Path) -> bool:
    """Return True for GeoParquet, which pyogrio does not read."""
    return file.suffix.lower() in (".parquet", ".geoparquet")


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Outputs


def check_output(output: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError if `output` exists (without `overwrite`) or its folder is not writable."""
    if output.is_dir():
        raise OutputError(f"{output}: is a folder. Name a file")
    if output.exists() and not output.is_file():
        raise OutputError(f"{output}: is not a regular file. Name another output")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: exists already. Choose another name, or pass --overwrite")
    check_parent(output, output.parent)


def check_parent(output: Path, parent: Path) -> None:
    """Raise OutputError for `output` if its folder `parent` is missing or not writable."""
    if not parent.is_dir():
        raise OutputError(f"{output}: its folder does not exist. Create {str(parent)!r} first")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"{output}: no permission to write in its folder. Choose another folder")


@contextmanager
def replacing(output: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Write a file that appears under its name only when it is complete.

    Parameters
    ----------
    output
        Path of the product.
    overwrite
        Replace an existing file.

    Yields
    ------
    Path
        Scratch path in the same folder, with the same suffix; nothing exists there yet. It is synced and renamed to
        `output` when the block ends, and removed if the block raises.

    Raises
    ------
    OutputError
        If `output` exists and `overwrite` is off, if it cannot be written, or if the disk is full.
    """
    check_output(output, overwrite=overwrite)
    scratch = output.with_name(f".{output.stem[:80]}.{uuid.uuid4().hex[:8]}.part{output.suffix}")
    try:
        mode = _default_mode(scratch)
        yield scratch
        sync_file(scratch, mode)  # some writers create private files
        os.replace(scratch, output)
        sync_folder(output.parent)
    except OSError as fault:
        error = _output_error(fault, output)
        if error is None:
            raise
        raise error from fault
    finally:
        discard(scratch)


def _default_mode(path: Path) -> int:
    """Return the permissions of a new file: the kernel applies the umask, which threads share."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        path.unlink()


def _output_error(fault: OSError, output: Path) -> OutputError | None:
    if fault.errno in DISK_FULL:
        return OutputError(f"{output}: the disk is full. Free some space, or choose another disk")
    if fault.errno in _NO_PERMISSION:
        return OutputError(
            f"{output}: cannot be written ({fault.strerror}). "
            "Close programs that have it open, or choose another folder"
        )
    return None


def discard(path: Path) -> None:
    """Remove a file, if it exists, and its sidecar files of GDAL and SQLite."""
    path.unlink(missing_ok=True)
    for sidecar in _SIDECARS:
        for file in path.parent.glob(_escape_glob(path.name) + sidecar):
            file.unlink(missing_ok=True)


def _escape_glob(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write UTF-8 text with LF line ends, completely or not at all; see `replacing`."""
    with replacing(path, overwrite=overwrite) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented UTF-8 JSON, replacing an existing file."""
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    write_text(path, text, overwrite=True)


def write_json_lines(path: Path, lines: Iterable[Any]) -> None:
    """Write one JSON value per line, replacing an existing file."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_text(path, text, overwrite=True)
