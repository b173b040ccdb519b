"""The decoder against Pillow as its oracle, on every mode, and against hostile bytes."""

from __future__ import annotations

import io
import random
import struct
import threading
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, ImageOps

from forensics.images import FORMATS, MAX_PIXELS, decode, resize
from forensics.images.jpeg import read_header, reduction
from forensics.types import Decoded
from tests.images.pictures import encoded, jpeg, photo, pixels

if TYPE_CHECKING:
    from forensics.types import UInt8Array

RNG = np.random.default_rng(7)


def pillow(data: bytes) -> UInt8Array:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def check(result: Decoded) -> None:
    """What holds of every result."""
    assert result.state in ("ok", "degraded", "rejected", "error")
    assert (result.reason == "") == (result.state == "ok")
    assert "\n" not in result.reason
    assert result.format in ("", *FORMATS)
    if result.state in ("ok", "degraded"):
        assert pixels(result).shape[0] <= max(result.height, 1)
        assert result.width * result.height <= MAX_PIXELS
    else:
        assert result.pixels is None


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_plain_modes_equal_pillow(kind: str, mode: str) -> None:
    image = Image.fromarray(photo()).convert(mode)
    if (kind in ("WEBP", "AVIF") and mode in ("P", "1")) or (kind == "JPEG" and mode == "P"):
        image = image.convert("RGB")
    data = encoded(image, kind)
    result = decode(data)
    assert (result.state, result.format, result.width, result.height) == ("ok", kind, 97, 61)
    np.testing.assert_array_equal(pixels(result), pillow(data))


@pytest.mark.parametrize(
    "options",
    [{"subsampling": s, "quality": q, "progressive": p} for s in (0, 1, 2) for q in (30, 95) for p in (False, True)]
    + [{"optimize": True, "restart_marker_rows": 1}, {"keep_rgb": True}],
)
def test_full_size_jpeg_equals_pillow(options: dict[str, Any]) -> None:
    for size in ((97, 61), (16, 16), (1, 1), (3, 200)):
        data = jpeg(photo(*size), **options)
        assert read_header(data) is not None
        np.testing.assert_array_equal(pixels(decode(data)), pillow(data))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(photo(48, 32)), kind, exif=exif)
    result = decode(data)
    expected = pillow(data)
    assert (result.state, result.width, result.height) == ("ok", expected.shape[1], expected.shape[0])
    np.testing.assert_array_equal(pixels(result), expected)
    if 5 <= orientation <= 8:
        assert (result.width, result.height) == (32, 48)


def test_orientation_in_xmp_alone() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = jpeg(xmp=xmp)
    np.testing.assert_array_equal(pixels(decode(data)), pillow(data))
    assert decode(data).width == 61


def test_a_broken_exif_block_leaves_the_picture_as_it_is() -> None:
    data = jpeg(exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert decode(data).state == "ok"
    np.testing.assert_array_equal(pixels(decode(data)), pixels(decode(jpeg())))


@pytest.mark.parametrize("need", [1, 40, 80, 100, 125, 161, 400])
def test_scaled_decode_keeps_what_is_needed(need: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(photo(403, 323), exif=exif)
    result = decode(data, need=need)
    height, width = pixels(result).shape[:2]
    factor = reduction(403, 323, need)
    assert (result.width, result.height) == (323, 403)
    assert (height, width) == (-(-403 // factor), -(-323 // factor))
    assert min(height, width) >= min(need, 323)
    assert factor == 1 or 323 / factor >= need
    assert (factor > 1) == (need * 2 <= 323)
    whole = resize(pixels(decode(data)), 40, 50)
    assert np.abs(resize(pixels(result), 40, 50).astype(int) - whole).mean() < 10


def test_other_formats_come_at_full_size() -> None:
    data = encoded(Image.fromarray(photo(400, 320)), "PNG")
    assert pixels(decode(data, need=10)).shape == (320, 400, 3)


def composite(rgba: UInt8Array) -> UInt8Array:
    alpha = rgba[..., 3:].astype(float) / 255
    blended: UInt8Array = np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return blended


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_on_white(kind: str) -> None:
    rgba = np.dstack([photo(), RNG.integers(0, 256, (61, 97), dtype=np.uint8)])
    rgba[:9, :, 3] = 0
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    result = pixels(decode(encoded(Image.fromarray(rgba), kind, **options)))
    assert np.abs(result.astype(int) - composite(rgba)).max() <= 1
    assert (result[:9] == 255).all()


def test_grey_with_alpha_and_transparent_colours() -> None:
    la = np.dstack([photo()[..., 0], RNG.integers(0, 256, (61, 97), dtype=np.uint8)])
    expected = composite(np.dstack([la[..., :1].repeat(3, axis=2), la[..., 1:]]))
    result = pixels(decode(encoded(Image.fromarray(la, "LA"), "PNG")))
    assert np.abs(result.astype(int) - expected).max() <= 1

    palette = Image.fromarray(photo()).quantize(8)
    plain = np.asarray(palette.convert("RGB"))
    transparent = np.asarray(palette) == 3
    for kind in ("PNG", "GIF"):
        result = pixels(decode(encoded(palette, kind, transparency=3)))
        np.testing.assert_array_equal(result, np.where(transparent[..., None], 255, plain))

    rgb = photo()
    rgb[5, 5] = (1, 2, 3)
    result = pixels(decode(encoded(Image.fromarray(rgb), "PNG", transparency=(1, 2, 3))))
    rgb[5, 5] = 255
    np.testing.assert_array_equal(result, rgb)


def test_modes_that_only_pillow_itself_makes() -> None:
    from forensics.images.pillow import to_rgb

    rgba = np.dstack([photo(), np.full((61, 97), 128, np.uint8)])
    for mode in ("RGBa", "La", "PA", "LA", "RGBX", "HSV", "YCbCr", "LAB"):
        image = Image.fromarray(rgba)
        if mode == "La":
            image = image.convert("LA").convert("La")
        elif mode == "PA":
            image = image.convert("RGB").convert("P").convert("PA")
        elif mode in ("RGBX", "HSV", "YCbCr"):
            image = image.convert("RGB").convert(mode)
        elif mode == "LAB":
            image = image.convert("RGB")
            lab = ImageCms.createProfile("LAB")
            transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
            image = ImageCms.applyTransform(image, transform)
        else:
            image = image.convert(mode)
        array, problem = to_rgb(image)
        assert problem == ""
        source = rgba if mode in ("RGBa", "La", "LA") else np.dstack([photo(), np.full((61, 97), 255, np.uint8)])
        expected = composite(source)
        if mode in ("La", "LA"):
            expected = np.repeat(np.asarray(Image.fromarray(rgba).convert("L"))[..., None] // 2 + 127, 3, axis=2)
        tolerance = 60 if mode == "PA" else 8
        assert np.abs(array.astype(int) - expected).mean() < tolerance, mode
        assert array.flags.writeable


def grey16(array: np.ndarray[Any, Any]) -> bytes:
    return encoded(Image.fromarray(array), "PNG")


def test_sixteen_bit_is_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, 64 * 32).reshape(32, 64).astype(np.uint16)
    expected = np.rint(values / 257).astype(np.uint8)
    for data in (grey16(values), encoded(Image.fromarray(values), "TIFF")):
        result = decode(data)
        assert result.state == "ok"
        np.testing.assert_array_equal(pixels(result), expected[..., None].repeat(3, axis=2))
    big_endian = Image.frombytes("I;16B", (64, 32), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(pixels(decode(encoded(big_endian, "TIFF")))[..., 0], expected)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_sixteen_bit_colour() -> None:
    values = RNG.integers(0, 65536, (8, 5, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    result = pixels(decode(png(5, 8, 16, 2, zlib.compress(rows))))
    assert np.abs(result.astype(int) - values.astype(int) / 257).max() <= 1


def test_a_transparent_sixteen_bit_grey_is_white() -> None:
    values = np.array([[1000, 2000], [30000, 2000]], dtype=">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    body = struct.pack(">H", 2000)
    extra = struct.pack(">I", 2) + b"tRNS" + body + struct.pack(">I", zlib.crc32(b"tRNS" + body))
    result = pixels(decode(png(2, 2, 16, 0, zlib.compress(rows), extra)))
    assert result[..., 0].tolist() == [[4, 255], [117, 255]]


@pytest.mark.parametrize(
    ("values", "expected", "state"),
    [
        ([0.0, 0.25, 0.5, 1.0], [0, 64, 128, 255], "ok"),
        ([0.0, 10.0, 100.0, 255.0], [0, 10, 100, 255], "ok"),
        ([0.0, 257.0, 65535.0, 32896.0], [0, 1, 255, 128], "ok"),
        ([0.0, 0.5, 1.0, 2.0], [0, 64, 128, 255], "degraded"),
        ([-1.0, 0.0, 1.0, 0.0], [0, 128, 255, 128], "degraded"),
        ([0.0, float("nan"), 1.0, float("inf")], [0, 0, 255, 0], "degraded"),
    ],
)
def test_float_images_are_scaled_sensibly(values: list[float], expected: list[int], state: str) -> None:
    array = np.array([values], dtype=np.float32)
    result = decode(encoded(Image.fromarray(array), "TIFF"))
    assert result.state == state, result.reason
    assert pixels(result)[0, :, 0].tolist() == expected


def test_thirty_two_bit_integers() -> None:
    result = decode(encoded(Image.fromarray(np.array([[0, 100_000, 200_000]], dtype=np.int32)), "TIFF"))
    assert result.state == "degraded"
    assert pixels(result)[0, :, 0].tolist() == [0, 128, 255]
    assert decode(encoded(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF")).state == "error"


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_without_profile_is_converted_plainly(kind: str) -> None:
    image = Image.fromarray(photo(200, 160)).convert("CMYK")
    data = encoded(image, kind)
    result = decode(data)
    assert result.state == "ok"
    np.testing.assert_array_equal(pixels(result), pillow(data))
    if kind == "JPEG":
        scaled = decode(data, need=80)
        assert pixels(scaled).shape == (80, 100, 3)
        assert (scaled.width, scaled.height) == (200, 160)


def cmyk_profile() -> bytes:
    """Build the smallest CMYK output profile that LittleCMS takes: a 2x2x2x2 table to Lab."""

    def tagged(kind: bytes, body: bytes) -> bytes:
        return kind + b"\0\0\0\0" + body + b"\0" * (-len(body) % 4)

    identity = bytes(range(256))
    grid = np.empty((2, 2, 2, 2, 3), np.uint8)
    for c, m, y, k in np.ndindex(2, 2, 2, 2):
        ink = c + m + y + 3 * k
        grid[c, m, y, k] = (max(0, 255 - 80 * ink), 128 + 60 * (m - c) * (1 - k), 128 + 60 * (y - c) * (1 - k))
    matrix = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table = tagged(b"mft1", bytes([4, 3, 2, 0]) + matrix + identity * 4 + grid.tobytes() + identity * 3)
    text = tagged(b"text", b"public domain\0")
    description = tagged(b"desc", struct.pack(">I", 5) + b"test\0" + bytes(78))
    white = tagged(b"XYZ ", struct.pack(">3i", 63190, 65536, 54061))
    tags = [(b"desc", description), (b"cprt", text), (b"wtpt", white), (b"A2B0", table)]
    offset = 128 + 4 + 12 * len(tags)
    directory, body = struct.pack(">I", len(tags)), b""
    for name, content in tags:
        directory += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ") + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + directory + body


def test_cmyk_goes_through_its_profile() -> None:
    profile = cmyk_profile()
    image = Image.fromarray(photo()).convert("CMYK")
    data = encoded(image, "TIFF", icc_profile=profile)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    expected = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert expected is not None
    result = decode(data)
    assert result.state == "ok", result.reason
    np.testing.assert_array_equal(pixels(result), np.asarray(expected))
    assert np.abs(pixels(result).astype(int) - pillow(data)).mean() > 10


@pytest.mark.parametrize(
    "profile", [b"not a profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_a_useless_cmyk_profile_is_named(profile: bytes) -> None:
    data = encoded(Image.fromarray(photo()).convert("CMYK"), "TIFF", icc_profile=profile)
    result = decode(data)
    assert result.state == "degraded"
    assert "CMYK converted plainly" in result.reason
    np.testing.assert_array_equal(pixels(result), pillow(data))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG", "AVIF"])
def test_only_the_first_frame_is_read_and_that_is_said(kind: str) -> None:
    frames = [Image.fromarray(photo()).quantize(32 + i).convert("RGB") for i in range(3)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    result = decode(data)
    assert result.state == "degraded"
    assert "first of several" in result.reason
    np.testing.assert_array_equal(pixels(result), pillow(data))


def test_pixels_are_counted_before_they_are_decoded() -> None:
    huge = png(10_000, 5_001, 8, 0, b"")
    result = decode(huge)
    assert (result.state, result.format) == ("rejected", "PNG")
    assert "10000 x 5001 = 50010000 pixels; at most 50000000" in result.reason
    assert decode(png(10_000, 5_000, 8, 0, b"")).state == "error"
    astronomic = decode(png(2**31 - 1, 2**31 - 1, 8, 0, b""))
    assert astronomic.state == "rejected"
    assert str((2**31 - 1) ** 2) in astronomic.reason
    frame = jpeg()
    at = frame.index(b"\xff\xc0")
    assert decode(frame[: at + 5] + struct.pack(">HH", 65000, 65000) + frame[at + 9 :]).state == "rejected"
    gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
    assert decode(gif).state == "rejected"
    for size, lossless in (((16383, 16383), True), ((16383, 16383), False)):
        small = encoded(Image.fromarray(photo()), "WEBP", lossless=lossless)
        body = bytearray(small)
        if lossless:
            body[21:25] = struct.pack(
                "<I", (size[0] - 1) | (size[1] - 1) << 14 | int.from_bytes(body[21:25], "little") >> 28 << 28
            )
        else:
            body[26:30] = struct.pack("<HH", *size)
        assert decode(bytes(body)).state == "rejected", (lossless, decode(bytes(body)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an image: the file is empty"),
        (b"hello", "no known signature"),
        (b"%PDF-1.7", "PDF is not read"),
        (b"8BPS\0\1", "Photoshop is not read"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF is not read"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "ISO media"),
        (b"P6\n2 2\n255\n" + bytes(12), "Netpbm is not read"),
        (b"\0\0\1\0\1\0", "icon (ICO) is not read"),
    ],
)
def test_what_is_no_image_is_rejected_by_name(data: bytes, words: str) -> None:
    result = decode(data)
    assert result.state == "rejected"
    assert words in result.reason
    assert not data or "JPEG, PNG, WebP, GIF, TIFF, BMP and AVIF are accepted" in result.reason


def samples() -> dict[str, bytes]:
    image = Image.fromarray(photo(64, 48))
    result = {kind: encoded(image, kind) for kind in FORMATS}
    result["progressive"] = encoded(image, "JPEG", progressive=True)
    result["cmyk"] = encoded(image.convert("CMYK"), "JPEG")
    result["palette"] = encoded(image.quantize(16), "PNG", transparency=2)
    result["lzw"] = encoded(image, "TIFF", compression="tiff_lzw")
    result["jpeg-tiff"] = encoded(image, "TIFF", compression="jpeg")
    return result


@pytest.mark.parametrize("name", sorted(samples()))
def test_truncated_files_are_decoded_as_far_as_they_go(name: str) -> None:
    data = samples()[name]
    states = set()
    for end in range(0, len(data), max(1, len(data) // 60)):
        result = decode(data[:end])
        check(result)
        states.add(result.state)
    assert "error" in states or name in ("BMP",)
    assert decode(data).state == "ok"
    if name in ("JPEG", "progressive", "PNG", "BMP"):
        result = decode(data[: len(data) * 3 // 4])
        assert result.state == "degraded"
        assert "cut short" in result.reason
        first = slice(-8, None) if name == "BMP" else slice(0, 8)  # BMP begins with the lowest row
        assert np.abs(pixels(result)[first].astype(int) - pixels(decode(data))[first]).mean() < 12


@pytest.mark.parametrize("name", sorted(samples()))
def test_flipped_bits_never_raise(name: str) -> None:
    rng = random.Random(name)
    data = samples()[name]
    for _ in range(60):
        mutated = bytearray(data)
        for _ in range(rng.choice((1, 3, 20))):
            at = rng.randrange(min(len(mutated), rng.choice((64, 10_000))))
            mutated[at] ^= 1 << rng.randrange(8)
        check(decode(bytes(mutated), need=rng.choice((0, 0, 8))))


@settings(max_examples=150, deadline=None)
@given(
    head=st.sampled_from(
        [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFFxxxxWEBP"]
    ),
    tail=st.binary(max_size=200),
)
def test_random_bytes_never_raise(head: bytes, tail: bytes) -> None:
    result = decode(head + tail)
    check(result)
    assert decode(head + tail).state == result.state


def test_a_damaged_scan_is_degraded_and_harmless_junk_is_not() -> None:
    data = jpeg(photo(200, 160))
    scan = data.index(b"\xff\xda")
    junk = data[:scan] + b"\xff\xfe\0\4ok" + data[scan:]
    assert decode(junk).state == "ok"
    result = decode(data[: len(data) // 2] + b"\xff\xd9")
    assert result.state == "degraded"
    assert "damaged or cut short" in result.reason


def test_a_jpeg_with_a_second_picture_is_one_picture() -> None:
    first, second = Image.fromarray(photo()), Image.fromarray(photo()[::-1].copy())
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    result = decode(data)
    assert (result.state, result.format) == ("ok", "JPEG")
    np.testing.assert_array_equal(pixels(result), pillow(data))


def test_nothing_global_is_left_changed_and_threads_agree() -> None:
    filters, truncated, limit = list(warnings.filters), ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    files = [data[: len(data) * 3 // 4] for data in samples().values()] + list(samples().values())
    expected = [decode(data).state for data in files]
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append([decode(data).state for data in files])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    assert list(warnings.filters) == filters
    assert (truncated, limit) == (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)
