from __future__ import annotations

import pickle

import imagehash
import numpy as np
import pdqhash
import pytest
from PIL import Image

from forensics import embed
from forensics.embed.crop_resistant import SEGMENTS, CropResistantHash
from forensics.embed.pdq import Pdq
from forensics.errors import UsageError, VectorError
from tests.embed.pictures import picture, pictures

HASHES = ("phash", "pdq", "dhash", "whash", "crop-resistant")


@pytest.mark.parametrize(
    ("name", "oracle"), [("phash", imagehash.phash), ("dhash", imagehash.dhash), ("whash", imagehash.whash)]
)
def test_hash_equals_imagehash(name, oracle):
    embedder = embed.create(name)
    images = pictures()
    rows = embedder.embed([embedder.prepare(image) for image in images])
    expected = [np.packbits(oracle(Image.fromarray(image)).hash.ravel()) for image in images]
    np.testing.assert_array_equal(rows, expected)


def test_pdq_and_its_quality_equal_pdqhash():
    embedder = Pdq()
    images = [*pictures(), picture(9, 1300, 40), picture(9, 24, 1100)]
    prepared = [embedder.prepare(image) for image in images]
    expected = [pdqhash.compute(image) for image in images]
    differing = np.unpackbits(embedder.embed(prepared), axis=1) != np.stack([bits for bits, _ in expected])
    assert differing.sum(axis=1).max() <= 2  # ties of float32 sums in another order; 0 on 190 photographs
    assert embedder.quality(prepared).tolist() == [quality for _, quality in expected]


def test_pdq_quality_tells_a_flat_image_from_a_structured_one():
    embedder = Pdq()
    flat = embedder.prepare(np.full((200, 200, 3), 90, np.uint8))
    assert embedder.quality([flat, embedder.prepare(picture(1))]).tolist() == [0, 100]


@pytest.mark.parametrize(("name", "bits"), [("pdq", 0), ("phash", 4), ("dhash", 0), ("crop-resistant", 0)])
def test_eight_orientations_at_once_equal_each_one_alone(name, bits):
    embedder = embed.create(name)
    for image in pictures():
        fast = np.stack(embed.prepare_orientations(embedder, image))
        slow = np.stack([embedder.prepare(embed.turn(image, orientation)) for orientation in range(8)])
        assert np.unpackbits(fast ^ slow, axis=1).sum(axis=1).max() <= bits
        np.testing.assert_array_equal(fast[0], embedder.prepare(image))


def test_one_of_the_eight_orientations_finds_a_turned_copy():
    embedder = Pdq()
    image = picture(3, 400, 300)
    reference = embedder.embed([embedder.prepare(image)])
    for orientation in range(8):
        turned = embed.turn(image, orientation)
        rows = embedder.embed(embed.prepare_orientations(embedder, turned))
        assert np.unpackbits(rows ^ reference, axis=1).sum(axis=1).min() <= 2


def test_turn_is_the_orientation_of_view():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    np.testing.assert_array_equal(embed.turn(image, 1), np.rot90(image))
    np.testing.assert_array_equal(embed.turn(image, 6), np.rot90(image[:, ::-1], 2))
    with pytest.raises(UsageError, match="0 to 7"):
        embed.turn(image, 8)


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (7, 3), (2500, 2)])
def test_any_size_has_a_hash_of_the_stated_length(name, size):
    embedder = embed.create(name)
    rows = embedder.embed([embedder.prepare(np.full((*size, 3), 200, np.uint8))])
    assert rows.shape == (1, embedder.spec.dim // 8)
    assert rows.dtype == np.uint8


@pytest.mark.parametrize("name", HASHES)
def test_views_of_other_layouts_give_the_same_hash(name):
    embedder = embed.create(name)
    image = picture(5)
    fortran = np.asfortranarray(image)
    part = np.pad(image, ((3, 5), (2, 9), (0, 0)))[3:-5, 2:-9]
    for same in (fortran, part):
        np.testing.assert_array_equal(embedder.prepare(same), embedder.prepare(image))


@pytest.mark.parametrize("name", HASHES)
def test_hashes_travel_to_worker_processes(name):
    embedder = embed.create(name)
    copy = pickle.loads(pickle.dumps(embedder))  # noqa: S301  our own object
    assert copy.spec == embedder.spec
    np.testing.assert_array_equal(copy.prepare(picture(2)), embedder.prepare(picture(2)))


@pytest.mark.parametrize("name", HASHES)
def test_rows_of_another_length_are_refused(name):
    embedder = embed.create(name)
    assert embedder.embed([]).shape == (0, embedder.spec.dim // 8)
    with pytest.raises(VectorError, match=r"shape \(5,\)"):
        embedder.embed([np.zeros(5, np.uint8)])


def _oracle_segments(image):
    hashes = imagehash.crop_resistant_hash(Image.fromarray(image), limit_segments=SEGMENTS).segment_hashes
    return [entry for entry in hashes if entry.hash.any()]


def test_crop_resistant_hash_and_score_equal_imagehash():
    embedder = CropResistantHash()
    whole = picture(11, 420, 300)
    images = [whole, np.ascontiguousarray(whole[40:, 60:]), picture(12)]
    rows = embedder.embed([embedder.prepare(image) for image in images])
    oracle = [_oracle_segments(image) for image in images]
    for row, hashes in zip(rows, oracle, strict=True):
        segments = row.reshape(SEGMENTS, 8)
        expected = [np.packbits(entry.hash.ravel()) for entry in hashes]
        np.testing.assert_array_equal(segments[segments.any(axis=1)], expected)
    multi = [imagehash.ImageMultiHash(hashes) for hashes in oracle]
    expected = [[1 - (query - reference) / len(query.segment_hashes) for reference in multi] for query in multi]
    scores = embedder.compare(rows, rows)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert scores.diagonal().tolist() == [1, 1, 1]


def test_crop_resistant_score_of_featureless_images_is_zero():
    embedder = CropResistantHash()
    flat = embedder.prepare(np.full((100, 100, 3), 250, np.uint8))
    rows = embedder.embed([flat, embedder.prepare(picture(1))])
    scores = embedder.compare(rows, rows)
    assert scores[0].tolist() == [0, 0]
    assert scores[:, 0].tolist() == [0, 0]
    with pytest.raises(VectorError, match="128"):
        embedder.compare(rows[:, :8], rows)


def test_only_the_crop_resistant_hash_has_a_score_of_its_own():
    assert [name for name in HASHES if embed.comparison(embed.create(name))] == ["crop-resistant"]
    assert [name for name in HASHES if embed.has_quality(embed.create(name))] == ["pdq"]


def test_a_very_long_image_costs_no_more_than_its_pixels() -> None:
    """A filter of 60,000 pixels once was a dense matrix of 29 GB."""
    import tracemalloc

    image = np.zeros((60_000, 20, 3), np.uint8)
    image[::7] = 255
    embedder = embed.create("pdq")
    tracemalloc.start()
    embedder.prepare(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20
