"""Finds and reads text on pictures: PP-OCRv6 on ONNX Runtime, and a Cyrillic head of the project's own.

The networks come inside the package ``rapidocr`` (extra ``ocr``; Apache-2.0): *PP-OCRv6 small* finds lines of any
script, and reads Latin, Chinese and Greek letters. No package of the index carries a PP-OCR recogniser of Cyrillic, so
:mod:`forensics.detect.cyrillic` reads it from the same network's inner features.

Where the extra is not installed, :func:`missing` says so in one sentence, and detectors go on without text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.detect.lines import Script, TextLine, greedy, script_of
from forensics.detect.text_boxes import Quad, crop_line, is_upright, network_size, rectangles, to_input
from forensics.embed.runtime import threads as default_threads
from forensics.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from forensics.types import FloatArray, Scalar, UInt8Array

__all__ = ["LineFeatures", "Script", "TextBox", "TextLine", "TextReader", "missing"]

_PACKAGE = "rapidocr"
_DETECTOR = "PP-OCRv6_det_small.onnx"
_RECOGNISER = "PP-OCRv6_rec_small.onnx"
_FEATURES = "p2o.pd_op.transpose.8.0"
"""(1, T, 120) float32 inside the recogniser: what its last linear layer sees."""
_FEATURES_SHA256 = "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884"
"""The recogniser whose features the Cyrillic head was fitted on; of any other file it would read nonsense."""
_LINE_HEIGHT = 48
_LEAST_WIDTH = 64
_MOST_WIDTH = 960
_SIDE = 512
_TALLEST = 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBox:
    """One line of text, found but not read.

    Attributes
    ----------
    polygon : tuple of four points
        Corners in pixels of the image that was given, clockwise from the upper left.
    score : float
        Mean probability of text inside, in [0, 1].
    """

    polygon: Quad
    score: float

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the upright rectangle around the box, in pixels."""
        xs, ys = zip(*self.polygon, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LineFeatures:
    """What the recogniser says of one line, frame by frame.

    Attributes
    ----------
    probability : ndarray
        (T, C) float32, of each character at each of T places along the line; column 0 is "no (new) letter".
    characters : tuple of str
        The characters of columns 1 to C - 1.
    features : ndarray or None
        (T, 120) float32, the layer before; None where the installed network is not the one known.
    """

    probability: FloatArray
    characters: Sequence[str]
    features: FloatArray | None


def missing() -> str:
    """Return the sentence that says why text can't be read here, or the empty string where it can."""
    try:
        _weights()
    except MissingExtraError as error:
        return str(error)
    return ""


class TextReader:
    """Finds lines of text and reads them; the networks are loaded when they are first needed.

    Parameters
    ----------
    threads : int or None
        CPU threads of ONNX Runtime; None takes ``$FORENSICS_THREADS``, else one a core.
    side : int
        Longer side in pixels, 64 to 2048, at which pictures are searched for text. A line is found from letters about
        8 pixels high at that size.

    Raises
    ------
    MissingExtraError
        On first use, where the extra ``ocr`` is not installed; :func:`missing` asks without raising.
    UsageError
        If ``side`` is out of its range.
    """

    def __init__(self, *, threads: int | None = None, side: int = _SIDE) -> None:
        if not 64 <= side <= 2048:
            raise UsageError(f"text is searched at 64 to 2048 pixels, not {side}")
        self._threads = threads
        self._side = side

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """Names and SHA-256 of the networks, for ``run.json``."""
        detector, recogniser = _weights()
        return {
            "text_detector": f"{detector.stem} sha256:{_digest(detector.read_bytes())}",
            "text_recogniser": f"{recogniser.stem} sha256:{_digest(recogniser.read_bytes())}",
            "cyrillic_head": self._cyrillic is not None,
        }

    def boxes(self, image: UInt8Array, *, tallest: float = _TALLEST) -> tuple[TextBox, ...]:
        """Find the lines of text.

        Parameters
        ----------
        image : ndarray
            (H, W, 3) uint8 RGB of any size.
        tallest : float
            Height of a line's letters, as a share of the picture's longer side, from which it is no text: the network
            takes a single thing on a plain ground for a letter. Infinite where the picture is a word cut out.

        Returns
        -------
        tuple of TextBox
            Uppermost first.
        """
        height, width = _checked(image)
        size = network_size(height, width, self._side)
        probability = self._detect(to_input(image, size))[0, 0]
        found = rectangles(probability, image_size=(height, width), tallest=tallest)
        return tuple(TextBox(polygon=corners, score=score) for corners, score in found)

    def read(
        self, image: UInt8Array, boxes: Sequence[TextBox], scripts: Sequence[Script] = ("latin", "cyrillic")
    ) -> tuple[TextLine, ...]:
        """Read the lines in ``boxes`` of ``image``, (H, W, 3) uint8 RGB; one :class:`TextLine` a box, in order."""
        _checked(image)
        return tuple(
            max((self.read_line(line, scripts) for line in _crops(image, box)), key=lambda line: line.confidence)
            for box in boxes
        )

    def read_line(self, line: UInt8Array, scripts: Sequence[Script] = ("latin", "cyrillic")) -> TextLine:
        """Read a picture that is one level line of text, (h, w, 3) uint8 RGB of any size."""
        seen = self.look(line)
        head = self._cyrillic if "cyrillic" in scripts else None
        if head is not None and seen.features is not None:
            own: TextLine = head.read(seen.features)
            if own.script == "cyrillic" or "latin" not in scripts:
                return own
        text, confidence = greedy(seen.probability, seen.characters)
        return TextLine(text=text, confidence=confidence, script=script_of(text))

    def readings(self, image: UInt8Array, box: TextBox) -> tuple[TextLine, ...]:
        """Read one box with every alphabet there is: PP-OCR's own, then the Cyrillic head's; both ways if upright."""
        found: list[TextLine] = []
        for line in _crops(image, box):
            seen = self.look(line)
            text, confidence = greedy(seen.probability, seen.characters)
            found.append(TextLine(text=text, confidence=confidence, script=script_of(text)))
            if self._cyrillic is not None and seen.features is not None:
                found.append(self._cyrillic.read(seen.features))
        return tuple(found)

    def look(self, line: UInt8Array) -> LineFeatures:
        """Return what the recogniser sees in one level line, (h, w, 3) uint8 RGB of any size."""
        height, width = _checked(line)
        wide = int(np.clip(round(width * _LINE_HEIGHT / height), _LEAST_WIDTH // 4, _MOST_WIDTH))
        planes = to_input(line, (_LINE_HEIGHT, wide))
        if wide < _LEAST_WIDTH:
            # grey beside the text, as the network was trained
            planes = np.pad(planes, ((0, 0), (0, 0), (0, 0), (0, _LEAST_WIDTH - wide)))
        outputs = self._recognise(planes)
        return LineFeatures(
            probability=outputs[0][0], characters=self._characters, features=outputs[1][0] if len(outputs) > 1 else None
        )

    @cached_property
    def _detect(self) -> Callable[[FloatArray], FloatArray]:
        session = self._session(_weights()[0].read_bytes())
        name = session.get_inputs()[0].name
        return lambda planes: session.run(None, {name: planes})[0]

    @cached_property
    def _recogniser(self) -> Any:
        content = _weights()[1].read_bytes()
        known = _digest(content) == _FEATURES_SHA256
        return self._session(_with_output(content, _FEATURES) if known else content)

    @property
    def _recognise(self) -> Callable[[FloatArray], list[FloatArray]]:
        session = self._recogniser
        return lambda planes: session.run(None, {session.get_inputs()[0].name: planes})

    @cached_property
    def _characters(self) -> tuple[str, ...]:
        # the space is the last class of the network, and is not in its list
        listed = self._recogniser.get_modelmeta().custom_metadata_map["character"].splitlines()
        return (*listed, " ")

    @cached_property
    def _cyrillic(self) -> Any:
        from forensics.detect.cyrillic import load_head

        return load_head() if len(self._recogniser.get_outputs()) > 1 else None

    def _session(self, content: bytes) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads or default_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # shape notes of the exporter
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _crops(image: UInt8Array, box: TextBox) -> list[UInt8Array]:
    """Return the line laid level; of one that stands on its end both ways it may be read."""
    line = crop_line(image, box.polygon, height=_LINE_HEIGHT, most_width=_MOST_WIDTH)
    return [line, np.ascontiguousarray(line[::-1, ::-1])] if is_upright(box.polygon) else [line]


def _weights() -> tuple[Path, Path]:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError("text can't be read: the package rapidocr is missing; pip install 'forensics[ocr]'")
    folder = Path(spec.origin).parent / "models"
    paths = folder / _DETECTOR, folder / _RECOGNISER
    for path in paths:
        if not path.is_file():
            raise MissingExtraError(
                f"text can't be read: the installed rapidocr has no {path.name}; pip install 'rapidocr>=3.10,<4'"
            )
    return paths


def _checked(image: UInt8Array) -> tuple[int, int]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UsageError(f"an (H, W, 3) uint8 image is read, not {image.shape} {image.dtype}")
    return image.shape[0], image.shape[1]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _with_output(model: bytes, name: str) -> bytes:
    """Return the ONNX ``model`` with its inner tensor ``name`` as a further output.

    A serialised protocol buffer that is continued by another is read as both merged, their lists joined: what is
    appended here is ``ModelProto{graph=7: GraphProto{output=12: ValueInfoProto{name=1: name}}}``.
    """
    text = name.encode()
    for field in (1, 12, 7):
        text = bytes([field << 3 | 2, len(text)]) + text
    return model + text
