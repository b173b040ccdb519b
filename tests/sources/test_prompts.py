"""Prompts from every kind of file, and what is wrong with a line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from forensics.errors import SourceError
from forensics.sources.prompts import prompt_lists, read_prompts


def _write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_a_prompt_as_it_stands() -> None:
    for text in ("радуга на фоне ночного города", "кот, 3", "a/b", "x" * 5000, "v1.5"):
        (row,) = read_prompts(f"  {text}\n")
        assert (row.prompt, row.seed, row.count, row.fields) == (text, None, None, {})
    assert [row.origin for row in read_prompts(["кот", "пёс"])] == ["prompt 1", "prompt 2"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text(tmp_path: Path, encoding: str, end: str) -> None:
    path = _write(tmp_path / "a.txt", end.join(["кот", "", "# не промпт", "  пёс  ", 'зверь\u2028дом, "да"']), encoding)
    rows = read_prompts(path)
    assert [row.prompt for row in rows] == ["кот", "пёс", 'зверь\u2028дом, "да"']
    assert [row.origin for row in rows] == [f"{path}, line {line}" for line in (1, 4, 5)]
    assert read_prompts(str(path)) == rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
def test_tables(tmp_path: Path, encoding: str, name: str, mark: str) -> None:
    lines = [
        ["Prompt", "seed", "n", "temperature", "translation"],
        ["кот", "7", "2", "0.5", "cat"],
        ["", "", "", "", ""],
        [f'"пёс{mark} ""злой""\nи две строки"', "", "", "", ""],
        ["дом", str(2**63 - 1), "", "", ""],
    ]
    path = _write(tmp_path / name, "\n".join(mark.join(cells) for cells in lines) + "\n", encoding)
    first, second, third = read_prompts(path)
    assert (first.prompt, first.seed, first.count) == ("кот", 7, 2)
    assert first.fields == {"temperature": "0.5", "translation": "cat"}
    assert (second.prompt, second.seed, second.count, second.fields) == (
        f'пёс{mark} "злой"\nи две строки', None, None, {},
    )  # fmt: skip
    assert third.seed == 2**63 - 1
    # a row is named by its first line
    assert [row.origin.rpartition(" ")[2] for row in (first, second, third)] == ["2", "4", "6"]


def test_json_lines(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.jsonl", '{"prompt": "кот", "seed": 3, "top_k": 5, "tags": ["a"]}\n\n"пёс"\n', "utf-8-sig"
    )
    first, second = read_prompts(path)
    assert (first.prompt, first.seed, first.fields) == ("кот", 3, {"top_k": 5, "tags": '["a"]'})
    assert (second.prompt, second.origin) == ("пёс", f"{path}, line 3")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "\n# x\n", r"no prompt in .*a\.txt"),
        ("a.csv", "", "no prompt in"),
        ("a.csv", "prompt,seed\n", "no prompt in"),
        ("a.csv", "text,seed\nкот,1\n", "0 columns called prompt, one needed; .* text, seed"),
        ("a.csv", "prompt,Prompt\na,b\n", "2 columns called prompt"),
        ("a.csv", "prompt,x,x\na,b,c\n", "two columns called 'x'"),
        ("a.csv", "prompt,seed\nкот,1\nпёс, дом,2\n", r"a\.csv, line 3: 3 cells, the header has 2"),
        ("a.csv", "prompt,seed\nкот\n", r"a\.csv, line 2: 1 cells"),
        ("a.csv", 'prompt,seed\nкот,1\n"пёс,2\nдом,3\n', r"a\.csv, line 3: not CSV"),
        ("a.csv", 'prompt,seed\n"пёс"x,2\n', r"a\.csv, line 2: not CSV"),
        ("a.csv", "prompt,seed\nкот,1\n ,2\n", r"a\.csv, line 3: an empty prompt"),
        ("a.csv", "prompt,seed\nкот,-1\n", r"a\.csv, line 2: seed '-1' given"),
        ("a.csv", f"prompt,seed\nкот,{2**63}\n", "line 2: seed"),
        ("a.csv", "prompt,seed\nкот,1.5\n", "line 2: seed"),
        ("a.csv", "prompt,n\nкот,0\n", "line 2: n '0' given, a whole number from 1"),
        ("a.jsonl", '"кот"\n{"prompt": "пёс"\n', r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", '{"text": "кот"}\n', r"a\.jsonl, line 1: an object with .prompt."),
        ("a.jsonl", "[1]\n", "line 1"),
        ("a.jsonl", '{"prompt": "кот", "seed": true}\n', "line 1: seed True given"),
        ("a.jsonl", '{"prompt": "  "}\n', "line 1: an empty prompt"),
        ("a.jsonl", '{"prompt": "\\ud800"}\n', "line 1: the prompt is not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = _write(tmp_path / name, text)
    with pytest.raises(SourceError, match=words):
        read_prompts(path)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt", "cat\nкот\n", "cp1251")
    with pytest.raises(SourceError, match=r"a\.txt, line 2: not UTF-8"):
        read_prompts(path)


def test_missing_files_and_empty_prompts(tmp_path: Path) -> None:
    for given in (str(tmp_path / "no.csv"), tmp_path / "no", "no.JSONL"):
        with pytest.raises(SourceError, match=r"no such file: .*no"):
            read_prompts(given)
    for empty in ("", " \n", "\0"):
        with pytest.raises(SourceError, match="an empty prompt given"):
            read_prompts(empty)
    with pytest.raises(SourceError, match="prompt 2: an empty prompt"):
        read_prompts(["кот", ""])


def test_the_list_that_ships() -> None:
    rows = read_prompts("merzmensch")
    assert len(rows) >= 12
    assert rows[-1].prompt == "радуга на фоне ночного города"
    assert "iStock" in str(rows[-1].fields["phenomenon"])
    assert {"Ностальгия", "Портрет гения", "Ленин в облаках", "Воскресение"} < {row.prompt for row in rows}
    for row in rows:
        assert set(row.fields) == {"translation", "phenomenon", "source"}
    with prompt_lists()["merzmensch"].open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"prompt": "кот", "temperature": NaN}\n', "utf-8")
    with pytest.raises(SourceError, match=r"list.jsonl, line 1: not JSON \(NaN is no number"):
        read_prompts(path)
    with pytest.raises(SourceError, match="the folder"):
        read_prompts(str(tmp_path))
