"""A detector's network in a file: read when it is first needed, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.embed.runtime import threads as default_threads
from forensics.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NetworkFile"]


class NetworkFile:
    """An ONNX file that ``forensics train`` writes.

    Parameters
    ----------
    path : Path
    detector : str
        Its name, as ``forensics train NAME`` has it; for messages.
    fits : callable
        Says whether an ``onnxruntime.InferenceSession`` is that detector's.
    threads : int, optional
        CPU threads; by default ``$FORENSICS_THREADS``, else one a core.
    """

    def __init__(self, path: Path, *, detector: str, fits: Callable[[Any], bool], threads: int | None = None) -> None:
        self.path = path
        self._detector, self._fits, self._threads = detector, fits, threads

    @cached_property
    def sha256(self) -> str:
        """Of the file, hex.

        Raises
        ------
        WeightsError
            If it cannot be read.
        """
        return hashlib.sha256(self._bytes()).hexdigest()

    @cached_property
    def session(self) -> Any:
        """The ``onnxruntime.InferenceSession``.

        Raises
        ------
        WeightsError
            If the file cannot be read, is damaged, or is another network.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads or default_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        content = self._bytes()
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # what ONNX Runtime raises on a broken file has no common class
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise WeightsError(
                f"the {self._detector} detector {self.path} is damaged ({reason}); {self._again}"
            ) from error
        if not self._fits(session):
            raise WeightsError(f"{self.path} is no {self._detector} detector; {self._again}")
        return session

    @property
    def _again(self) -> str:
        return f"install the program anew, or train it with: forensics train {self._detector}"

    def _bytes(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise WeightsError(
                f"the {self._detector} detector {self.path} cannot be read ({error.strerror}); {self._again}"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "session"}
