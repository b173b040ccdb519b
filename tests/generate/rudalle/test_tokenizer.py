from __future__ import annotations

import logging
from pathlib import Path

import pytest

from forensics.errors import UsageError, WeightsError
from forensics.generate.rudalle.tokenizer import Tokenizer

ALPHABET = {character: number for number, character in enumerate("▁абвг", start=4)}
RULES = [(5, 6, 9), (4, 9, 10), (9, 9, 11)]  # аб, ▁аб, абаб


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer(ALPHABET, RULES)


@pytest.mark.parametrize(
    ("text", "subwords"),
    [
        ("аб", ["▁аб"]),
        ("абаб", ["▁аб", "аб"]),  # the earlier rule first, though абаб is longer
        ("вабаб", ["▁", "в", "абаб"]),
        ("  аб\t\nв ", ["▁аб", "▁", "в"]),
        ("аб▁аб", ["▁аб", "▁аб"]),  # the space mark is a space
        ("аxyzбq", ["▁", "а", "xyz", "б", "q"]),
        ("а\u00a0б", ["▁", "а", "\u00a0", "б"]),  # no other space parts words
        ("", []),
        (" \n", []),
        ("\ud800", []),
        ("а\udfffб", ["▁аб"]),
    ],
)
def test_subwords(tokenizer: Tokenizer, text: str, subwords: list[str]) -> None:
    assert tokenizer.subwords(text) == subwords
    known = [1 if piece not in tokenizer.vocabulary else tokenizer.vocabulary.index(piece) for piece in subwords]
    assert tokenizer.encode(text) == known


def _slowly(word: str) -> list[str]:
    """The rules one after another, each over the whole word from the left."""
    pieces = ["▁", *word]
    for left, right in (("а", "б"), ("▁", "аб"), ("аб", "аб")):
        place = 0
        while place < len(pieces) - 1:
            if pieces[place : place + 2] == [left, right]:
                pieces[place : place + 2] = [left + right]
            place += 1
    return pieces


def test_merging_equals_rule_after_rule(tokenizer: Tokenizer) -> None:
    words = [bin(number)[2:].replace("0", "а").replace("1", "б") for number in range(1, 300)]
    for word in words:
        assert tokenizer.subwords(word) == _slowly(word)
        assert tokenizer.decode(tokenizer.encode(word)) == word


def test_decoding(tokenizer: Tokenizer) -> None:
    ids = [2, *tokenizer.encode("аб в"), 3, 0, 0]
    assert tokenizer.decode(ids, ignore=frozenset({0, 1, 2, 3})) == "аб в"
    assert tokenizer.decode(ids) == "<BOS> аб в<EOS><PAD><PAD>"
    with pytest.raises(UsageError, match="token 12 given, 0 to 11 accepted"):
        tokenizer.decode([12])


def test_a_prompt_is_padded(tokenizer: Tokenizer) -> None:
    prompt = tokenizer.encode_prompt("  АБ в ", 8)
    assert prompt.ids == (2, 10, 4, 7, 3, 0, 0, 0)
    assert (prompt.used, prompt.kept, prompt.dropped) == (5, "аб в", "")


def test_a_long_prompt_is_cut_and_says_where(tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        prompt = tokenizer.encode_prompt("аб аб в г", 5)
    assert prompt.ids == (2, 10, 10, 4, 7)
    assert (prompt.used, prompt.kept, prompt.dropped) == (8, "аб аб в", "г")
    assert "8 tokens, 5 fit: it is cut after 'аб аб в'" in caplog.text
    exact = tokenizer.encode_prompt("аб аб", 3)  # only the end token does not fit
    assert (exact.ids, exact.dropped) == ((2, 10, 10), "")


def test_an_empty_prompt_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match="an empty prompt given"):
        tokenizer.encode_prompt(" \t", 8)


def test_bad_files(tmp_path: Path) -> None:
    good = "2 1\n9601 4\n1072 5\n4 5 6\n1 0 2 3\n"
    path = tmp_path / "bpe.model"
    path.write_text(good)
    assert Tokenizer.open(path).vocabulary == ("<PAD>", "<UNK>", "<BOS>", "<EOS>", "▁", "а", "▁а")
    for content, message in (
        (good[:-6], "no complete YouTokenToMe model"),
        ("", "no complete"),
        ("x", "whole numbers alone"),
        ("1 0\n1072 5\n1 0 2 3\n", "space mark"),
        ("1 1\n9601 4\n4 77 6\n1 0 2 3\n", "no line before it defines"),
    ):
        path.write_text(content)
        with pytest.raises(WeightsError, match=message):
            Tokenizer.open(path)
    with pytest.raises(WeightsError, match=r"gone\.model cannot be read"):
        Tokenizer.open(tmp_path / "gone.model")
