"""An index that is calibrated, and the audits that rely on it: on hashes alone, which need no weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics import audit, build_index
from forensics.calibration import logit
from forensics.errors import IndexFormatError, IntegrityError, UsageError
from forensics.flows import calibrate as flow
from forensics.flows.calibrate import CalibrationOptions, as_drawn, calibrate
from forensics.flows.calibration_files import CALIBRATION_FOLDER, read_calibration
from forensics.flows.duplicates import duplicates
from forensics.flows.index import open_index, remove_images
from forensics.flows.measure import PairRow
from forensics.images import decode
from forensics.index.writer import open_writer
from forensics.types import Verification
from tests.report.fake import scene

QUICK = {"queries": 50, "side": 128, "workers": 0, "effort": "fast", "top": 1}


def small(number: int) -> Image.Image:
    return scene(number).resize((160, 120))


@pytest.fixture(scope="module")
def references(tmp_path_factory) -> Path:
    """52 scenes; the first of them stands there three times."""
    folder = tmp_path_factory.mktemp("calibrate") / "references"
    folder.mkdir()
    for number in range(52):
        small(number).save(folder / f"{number:02d}.png")
    again = small(0)
    again.save(folder / "00-again.jpg", quality=70)
    again.resize((120, 90)).save(folder / "00-smaller.png")
    return folder


@pytest.fixture(scope="module")
def plain(references, tmp_path_factory) -> Path:
    """An index that knows nothing of itself."""
    out = tmp_path_factory.mktemp("plain") / "index"
    build_index(references, out=out, hashes=("phash",), embedders=(), workers=0)
    return out


@pytest.fixture(scope="module")
def built(plain, tmp_path_factory) -> Path:
    return Path(shutil.copytree(plain, tmp_path_factory.mktemp("built") / "index"))


@pytest.fixture(scope="module")
def calibrated(built):
    return calibrate(built, CalibrationOptions(**QUICK))


def pairs_of(beliefs: dict[tuple[str, str], dict]) -> Callable[..., Iterator[list[PairRow]]]:
    """Stand in for search and verification: these pairs (ids) with these measurements."""

    def measured(queries, references, init, **settings):
        names = {queries.image(n).ref.id: n for n in range(len(queries))}
        ids = {references.image(n).ref.id: n for n in range(len(references))}
        yield [
            PairRow(
                query=names[query],
                reference=ids[reference],
                measurements=measurements,
                verification=Verification(status="verified"),
            )
            for (query, reference), measurements in beliefs.items()
            if query in names
        ]

    return measured


def test_the_references_without_their_near_duplicates_are_the_queries(built, calibrated):
    found = calibrated.calibration
    assert len(found) == 50
    assert "each searched without its near-duplicates" in found.population
    assert len(calibrated.duplicates.groups[0].images) == 3
    assert found.scores[0] == pytest.approx(logit(calibrated.strongest[0].belief), abs=1e-4)
    assert read_calibration(open_index(built)).to_dict() == found.to_dict()
    assert not (built / ".calibration").exists()


def test_the_strongest_pairs_are_named_for_a_look(calibrated):
    beliefs = [pair.belief for pair in calibrated.strongest]
    assert beliefs == sorted(beliefs, reverse=True)
    assert all(pair.query != pair.reference for pair in calibrated.strongest)
    stored = json.loads(calibrated.file.read_text())
    assert [row[:2] for row in stored["strongest"]] == [[p.query, p.reference] for p in calibrated.strongest]


@pytest.fixture(scope="module")
def run(built, calibrated, tmp_path_factory):
    """An audit of a copy, by the calibration's own settings."""
    folder = tmp_path_factory.mktemp("suspects")
    (folder / "images").mkdir()
    small(0).save(folder / "images" / "copy.jpg", quality=80)
    small(999).save(folder / "images" / "other.png")
    return audit(folder / "images", index=built, out=folder / "run", workers=0, effort="fast", top=1)


def findings(result) -> list[dict]:
    return [json.loads(line) for line in (result.run_dir / "findings.jsonl").read_text("utf-8").splitlines()]


def test_every_finding_says_how_often_chance_scores_so(run):
    (finding, *_) = [row for row in findings(run) if row["query"]["id"] == "copy.jpg"]
    said = finding["measurements"]
    assert said["reference_group"] == 3
    assert 0 <= said["p_unrelated_low"] <= said["p_unrelated"] <= said["p_unrelated_high"] <= 1
    assert said["p_unrelated_high"] >= 0.058  # the rule of three for 50 queries
    assert said["likelihood_ratio"] == pytest.approx(1 / said["p_unrelated_high"], rel=0.01)
    assert said["expected_false"] <= said["expected_false_high"] <= 2
    text = " ".join(finding["reasons"])
    assert "one of 3 near-duplicates" in text
    assert "none of 50 did" in text
    assert "can show no more than 17" in text
    assert "support for a copy" in text


def test_the_report_and_the_run_say_it_too(run):
    facts = json.loads((run.run_dir / "run.json").read_text("utf-8"))
    assert facts["calibration"]["queries"] == 50
    assert facts["duplicates"]["groups"] >= 1
    assert any("Calibrated with 50 unrelated queries" in note for note in run.notes)
    report = run.report.read_text("utf-8")
    assert "An unrelated picture scores as high" in report
    assert "Near-duplicates of the reference" in report


def test_an_audit_done_otherwise_does_not_use_it_and_says_why(built, calibrated, run, tmp_path):
    images = run.run_dir.parent / "images"
    other = audit(images, index=built, out=tmp_path / "run", workers=0, effort="fast", top=2)
    assert any("another number of candidates" in note for note in other.notes)
    assert all("p_unrelated" not in row["measurements"] for row in findings(other))
    assert all(row["measurements"]["reference_group"] >= 1 for row in findings(other))


def test_without_calibration_one_line_says_so(plain, tmp_path, run):
    images = run.run_dir.parent / "images"
    result = audit(images, index=plain, out=tmp_path / "run", workers=0, effort="fast", top=1)
    assert sum("not calibrated" in note for note in result.notes) == 1
    assert sum("forensics index duplicates" in note for note in result.notes) == 1
    with pytest.raises(UsageError, match="needs a calibration"):
        audit(images, index=plain, out=tmp_path / "other", workers=0, effort="fast", top=1, false_alarms=0.1)


def test_a_stated_rate_sets_the_threshold(built, calibrated, run, tmp_path):
    images = run.run_dir.parent / "images"
    result = audit(images, index=built, out=tmp_path / "run", workers=0, effort="fast", top=1, false_alarms=0.1)
    table = json.loads((result.run_dir / "run.json").read_text("utf-8"))["thresholds"]
    assert table["belief"]["value"] == pytest.approx(calibrated.calibration.belief_at(0.1))
    assert "0.1 of unrelated pictures" in table["belief"]["source"]
    assert all(row["threshold"] == table["belief"]["value"] for row in findings(result) if "copy" in row["kind"])
    for wrong, words in ((0.001, "--queries 1000"), (2.0, "between 0 and 1")):
        with pytest.raises(UsageError, match=words):
            audit(images, index=built, out=tmp_path / "x", workers=0, effort="fast", top=1, false_alarms=wrong)
    with pytest.raises(UsageError, match="both"):
        audit(
            images, index=built, out=tmp_path / "x", workers=0, effort="fast", top=1, false_alarms=0.1,
            thresholds={"belief": 0.5},
        )  # fmt: skip


def test_a_background_and_pairs_that_a_person_named(plain, tmp_path, monkeypatch):
    index = Path(shutil.copytree(plain, tmp_path / "index"))
    background = tmp_path / "background"
    background.mkdir()
    for number in range(51):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(background / f"{number:02d}.png")
    (background / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    (tmp_path / "same.csv").write_text("query,reference\n05.png,05.png\n")
    drawn: dict[str, str] = {}

    def measured(queries, references, init, **settings):
        listing = json.loads((index / ".calibration" / "pictures.json").read_text())["names"]
        drawn.update({identifier: name for name, (identifier, _) in listing.items()})
        strong = {"log10_nfa": -9.0, "similarity": 0.9, "phash": 0.8}
        pairs = {
            (drawn["05.png"], "05.png"): strong,  # named by a person
            (drawn["06.png"], "06.png"): {"phash": 0.97},  # a near-duplicate by the rule
            (drawn["07.png"], "07.png"): strong,
        }
        yield from pairs_of(pairs)(queries, references, init)

    monkeypatch.setattr(flow, "measured_pairs", measured)
    options = CalibrationOptions(**QUICK | {"queries": 60}, background=background, same=tmp_path / "same.csv")
    result = calibrate(index, options)
    assert len(result.calibration) == 51
    assert dict(result.unusable) == {"could not be read": 1}
    assert {(pair.query, pair.reference) for pair in result.left_out} == {("05.png", "05.png"), ("06.png", "06.png")}
    assert [(pair.query, pair.reference) for pair in result.strongest] == [("07.png", "07.png")]
    assert result.calibration.scores[0] > logit(0.5) > result.calibration.scores[1]
    assert "pictures of the background background" in result.calibration.population
    assert sum(name.startswith("calibration/") for name in open_index(index).manifest.calibration) == 1


def test_a_query_s_own_group_does_not_count(plain, tmp_path, monkeypatch):
    """The first picture stands there three times: whichever is the query, none of the three is a false alarm."""
    index = Path(shutil.copytree(plain, tmp_path / "index"))

    def measured(queries, references, init, **settings):
        assert settings["top"] == 1 + 3  # room for the group
        listing = json.loads((index / ".calibration" / "pictures.json").read_text())["names"]
        strong = {"log10_nfa": -9.0, "similarity": 0.9, "phash": 0.8}
        group = ("00.png", "00-again.jpg", "00-smaller.png")
        own = {(name, other): strong for name, (identifier, _) in listing.items() for other in group
               if identifier in group}  # fmt: skip
        assert len(own) == 3  # of the group one image is a query
        yield from pairs_of(own)(queries, references, init)

    monkeypatch.setattr(flow, "measured_pairs", measured)
    result = calibrate(index, CalibrationOptions(**QUICK))
    assert result.calibration.scores[0] == pytest.approx(logit(0), abs=1e-4)
    assert result.strongest == ()


def test_it_goes_on_where_it_was(plain, tmp_path, monkeypatch):
    index = Path(shutil.copytree(plain, tmp_path / "index"))
    options = CalibrationOptions(**QUICK)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flow, "measured_pairs", stop)
        with pytest.raises(KeyboardInterrupt):
            calibrate(index, options)
    assert (index / ".calibration" / "queries" / "manifest.json").is_file()
    monkeypatch.setattr(flow, "as_drawn", stop)  # drawn already
    monkeypatch.setattr(flow, "measured_pairs", pairs_of({}))
    assert len(calibrate(index, options).calibration) == 50
    assert not (index / ".calibration").exists()


def test_a_changed_index_makes_it_stale(built, calibrated, tmp_path, run):
    index = Path(shutil.copytree(built, tmp_path / "index"))
    remove_images(index, ids=["51.png"])
    images = run.run_dir.parent / "images"
    result = audit(images, index=index, out=tmp_path / "run", workers=0, effort="fast", top=1)
    assert any("images were added to the index or removed from it" in note for note in result.notes)
    assert any("the index changed since" in note for note in result.notes)
    assert all("p_unrelated" not in row["measurements"] for row in findings(result))


def test_a_file_that_was_touched_is_refused(built, calibrated, tmp_path, run):
    index = Path(shutil.copytree(built, tmp_path / "index"))
    path = next((index / "calibration").iterdir())
    path.write_text(path.read_text().replace('"queries": 50', '"queries": 51'))
    with pytest.raises(IntegrityError, match="changed"):
        audit(run.run_dir.parent / "images", index=index, out=tmp_path / "run", workers=0)


def test_a_calibration_that_cannot_be_understood_is_refused(plain, tmp_path):
    index = Path(shutil.copytree(plain, tmp_path / "index"))
    with open_writer(index) as writer:
        writer.seal(CALIBRATION_FOLDER, "scores", ".json", b'{"format": "another"}')
    with pytest.raises(IndexFormatError, match="calibrate again"):
        read_calibration(open_index(index))


@pytest.mark.parametrize(
    ("wrong", "words"), [({"queries": 10}, "50 or more"), ({"side": 8}, "32 or more"), ({"seed": -1}, "0 or more")]
)
def test_options_that_cannot_be_are_refused(wrong, words):
    with pytest.raises(UsageError, match=words):
        CalibrationOptions(**wrong)


def test_an_index_that_is_too_small_asks_for_a_background(tmp_path):
    (tmp_path / "few").mkdir()
    for number in range(5):
        small(number).save(tmp_path / "few" / f"{number}.png")
    build_index(tmp_path / "few", out=tmp_path / "index", hashes=("phash",), embedders=(), workers=0)
    with pytest.raises(UsageError, match=r"5 pictures can be unrelated queries, 50 are needed: .*--background"):
        calibrate(tmp_path / "index", CalibrationOptions(**QUICK))


def test_queries_have_the_size_that_a_generator_draws():
    for shape in ((40, 90, 3), (600, 300, 3), (1, 1, 3)):
        pixels = decode(as_drawn(np.full(shape, 90, np.uint8), 256)).pixels
        assert max(pixels.shape[:2]) == 256


def test_near_duplicates_of_a_hash_only_index(built, calibrated):
    result = duplicates(built)
    assert {row["id"] for row in result.rows() if row["group"] == 1} == {"00.png", "00-again.jpg", "00-smaller.png"}
    assert result.distinct == 54 - result.found.images + len(result.found.groups)
