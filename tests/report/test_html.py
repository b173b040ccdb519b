"""The report: complete, self-contained, escaped, the same on every rendering."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from forensics.errors import IntegrityError, UsageError
from forensics.report.evidence import check_sums
from forensics.report.html import render
from forensics.report.review import set_reviews
from forensics.report.run import load
from forensics.report.views import groups, summary
from forensics.report.words import figure, per_thousand, visible
from tests.report.fake import HOSTILE, write_run


@pytest.fixture(scope="module")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "one", copies=4, clean=8, leads=2)


@pytest.fixture
def run(made_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_run, tmp_path / "run"))


class Page(HTMLParser):
    """Tags, attributes and visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(run: Path) -> Page:
    return Page((run / "report.html").read_text("utf-8"))


def test_nothing_is_fetched_from_outside(run: Path) -> None:
    for tag, attributes in page(run).tags:
        assert tag not in {"iframe", "object", "embed", "base", "form"}
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
        assert not [name for name in attributes if name.startswith("on")]
    style = (run / "report.html").read_text("utf-8").split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_this_script_alone(run: Path) -> None:
    text = (run / "report.html").read_text("utf-8")
    policy = next(a["content"] for t, a in Page(text).tags if t == "meta" and a.get("http-equiv"))
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"script-src 'sha256-{digest}'" in policy


def test_every_section_stands_with_its_content(run: Path) -> None:
    text = page(run).text
    ids = {attributes.get("id") for _, attributes in page(run).tags}
    assert {"summary", "findings", "groups", "roots", "coverage", "method", "versions", "finding-1"} <= ids
    for words in (
        "EX-2031-007", "A. Examiner", "4 of the 15 generated images that were searched reproduce a reference image",
        "3 the whole of it, 1 a part of it", "clustered by", "forensics weights fetch sscd-disc-mixup",
        "truncated file",
        "60 megapixels", "first of 12 frames", "stock.example.com", "example-400m", "Jane Roe", "green hills at dawn",
        "proprietary", "No finding does not mean", "cd" * 32, "Matching points", "≥ 0.620",
    ):  # fmt: skip
        assert words in text, words


def test_every_shown_picture_is_embedded_once(run: Path) -> None:
    tags = page(run).tags
    used = [a["href"] for t, a in tags if t == "use"]
    defined = [a["id"] for t, a in tags if t == "image"]
    assert len(set(defined)) == len(defined)
    assert {f"#{name}" for name in defined} == set(used)
    assert len([1 for t, a in tags if t == "polygon" and a.get("class") == "region"]) == 8
    assert len([1 for t, a in tags if "comparer" in (a.get("class") or "").split()]) == 4


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", copies=2, clean=0, leads=0, hostile=True)
    text = (run / "report.html").read_text("utf-8")
    parsed = Page(text)
    assert sum(tag == "script" for tag, _ in parsed.tags) == 1
    assert not [tag for tag, _ in parsed.tags if tag == "img"]
    assert not [1 for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert sum(tag == "style" for tag, _ in parsed.tags) == 1
    assert "\u202e" not in text
    assert "\u200b" not in text
    assert "U+202E" in parsed.text
    assert "{{7*7}}" in parsed.text
    assert "<script>alert(2)</script>" in parsed.text


def test_rendering_again_gives_the_same_bytes(run: Path) -> None:
    before = (run / "report.html").read_bytes()
    (run / "report.html").write_text("spoilt")
    assert render(run).read_bytes() == before
    check_sums(run)


def test_a_changed_run_is_never_sealed_again(run: Path) -> None:
    (run / "findings.jsonl").write_text("")
    with pytest.raises(IntegrityError, match=r"findings\.jsonl was changed"):
        render(run)


def test_the_rest_of_a_long_run_is_a_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", copies=2, clean=300, leads=0, filler=60, pictures=10)
    tags = page(run).tags
    assert sum(t == "article" for t, _ in tags) == 10
    assert sum(t == "tr" and "data-finding" in a for t, a in tags) == 52
    assert sum(t == "image" for t, _ in tags) <= 4 + 10


def test_no_finding_bounds_the_rate(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", copies=0, clean=996, leads=0, prompts=False)
    text = page(run).text
    assert "In none of the 997 generated images that were searched was a copy" in text
    assert "With 95 % confidence the rate is below 3.0 in 1,000." in text
    assert "The method cannot show that an image was not used" in text


def test_rejected_findings_leave_the_rate(run: Path) -> None:
    ids = [row["finding_id"] for row in load(run).findings]
    assert summary(load(run)).rate.count == 4
    set_reviews(run, {ids[0]: "rejected", ids[1]: "confirmed"})
    loaded = load(run)
    assert summary(loaded).rate.count == 3
    assert "1 confirmed, 1 rejected (not counted above), 2 not yet reviewed" in page(run).text
    assert groups(loaded)[1].rows == (("example-400m", 3, 3),)


def test_damaged_runs_give_one_clear_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        render(tmp_path)
    (run / "evidence.json").unlink()
    with pytest.raises(UsageError, match=r"evidence\.json"):
        load(run)


def test_missing_or_broken_pictures_leave_a_report(run: Path) -> None:
    from forensics.report.evidence import write_sums

    for path in (run / "evidence").iterdir():
        path.write_bytes(b"not a JPEG")
    write_sums(run)
    render(run)
    assert "No picture was stored" in page(run).text


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [(0.5, "share", "50 %"), (12345, "count", "12\u202f345"), (None, "number", "not measured"), (True, "number", "yes"),
     (float("nan"), "number", "not measured"), (-45.26, "power", "−45.3"), (0.12345, "number", "0.123")],
)  # fmt: skip
def test_figures(value: float | None, form: str, shown: str) -> None:
    assert figure(value, form) == shown


def test_rates_bear_fitting_digits() -> None:
    assert [per_thousand(x) for x in (0, 0.00003, 0.0123, 0.5)] == ["0", "0.03", "12.3", "500"]


def test_deceiving_characters_are_named() -> None:
    assert visible("a\u202eb") == [(False, "a"), (True, "U+202E"), (False, "b")]
    assert visible("\U0001f468\u200d\U0001f469\n", strict=False) == [(False, "\U0001f468\u200d\U0001f469 ")]
    assert visible("x" * 5, limit=3)[-1] == (True, "… 2 characters more")
    assert HOSTILE not in "".join(text for _, text in visible(HOSTILE))
