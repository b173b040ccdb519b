"""The tokenizer's trainer: by hand, against a slow oracle, and through the reader."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from forensics.bpe import Tokenizer
from forensics.errors import UsageError
from forensics.train.tokenizer import Bpe, TokenizerTraining, learn_bpe


def merges(bpe: Bpe) -> list[str]:
    vocabulary = bpe.tokenizer.vocabulary
    return [vocabulary[merged] for _, _, merged in bpe.rules]


def test_a_small_example_by_hand() -> None:
    # words: ▁ab x3, ▁abc x2, ▁b x1. Frequencies: b 6, a 5, c 2.
    bpe = learn_bpe(["ab abc ab", "AB abc b"], TokenizerTraining(vocabulary=20))
    assert bpe.characters == {"▁": 4, "b": 5, "a": 6, "c": 7}
    # (▁ a) and (a b) both occur 5 times: the lower left id goes first. Then (▁a b) 5, then (▁ab c) 2; (▁ b) occurs once
    assert bpe.rules == ((4, 6, 8), (8, 5, 9), (9, 7, 10))
    assert merges(bpe) == ["▁a", "▁ab", "▁abc"]


def test_the_file_is_youtokentomes(tmp_path: Path) -> None:
    bpe = learn_bpe(["ab ab"], TokenizerTraining(vocabulary=8))
    bpe.save(tmp_path / "bpe.model")
    assert (tmp_path / "bpe.model").read_text("ascii") == "3 1\n9601 4\n97 5\n98 6\n4 5 7\n1 0 2 3\n"
    read = Tokenizer.open(tmp_path / "bpe.model")
    assert read.vocabulary == bpe.tokenizer.vocabulary == ("<PAD>", "<UNK>", "<BOS>", "<EOS>", "▁", "a", "b", "▁a")
    assert read.encode("ab b") == [7, 6, 4, 6]


def test_runs_of_one_letter_are_counted_as_they_merge() -> None:
    # aaaa has three neighbours (a a) of which merging takes two: 4 in all, fewer than the 5 of (b c)
    bpe = learn_bpe(["aaaa bcbc", "aaaa bcbc bc"], TokenizerTraining(vocabulary=100))
    assert merges(bpe)[:2] == ["bc", "aa"]


def test_rare_characters_are_unknown_and_part_pieces() -> None:
    captions = ["ab"] * 50 + ["aqb"]
    bpe = learn_bpe(captions, TokenizerTraining(vocabulary=10, coverage=0.99))
    assert set(bpe.characters) == {"▁", "a", "b"}
    tokenizer = bpe.tokenizer
    assert tokenizer.subwords("aqb") == ["▁a", "q", "b"]
    assert tokenizer.encode("aqb")[1] == 1
    assert set(learn_bpe(captions, TokenizerTraining(vocabulary=10, coverage=1.0)).characters) == {"▁", "a", "b", "q"}
    more = learn_bpe(captions, TokenizerTraining(vocabulary=20, coverage=0.99, alphabet="Xyz a"))
    assert set(more.characters) == {"▁", "a", "b", "x", "y", "z"}


def slow(words: Counter[str], characters: dict[str, int], limit: int) -> list[tuple[int, int, int]]:
    """Recount everything before each merge."""
    texts = {word: [characters[letter] for letter in "▁" + word] for word in words}
    rules: list[tuple[int, int, int]] = []
    while len(rules) < limit:
        counts: Counter[tuple[int, int]] = Counter()
        for word, text in texts.items():
            for pair in set(pairwise(text)):
                place = found = 0
                while place + 1 < len(text):
                    if (text[place], text[place + 1]) == pair:
                        found, place = found + 1, place + 2
                    else:
                        place += 1
                counts[pair] += found * words[word]
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        if counts[best] < 2:
            break
        merged = 4 + len(characters) + len(rules)
        rules.append((*best, merged))
        for text in texts.values():
            place = 0
            while place + 1 < len(text):
                if (text[place], text[place + 1]) == best:
                    text[place : place + 2] = [merged]
                place += 1
    return rules


@pytest.mark.parametrize("seed", range(4))
def test_it_makes_the_merges_of_a_slow_one_and_the_reader_applies_them(seed: int) -> None:
    chance = random.Random(seed)
    words = ["".join(chance.choices("aab", k=chance.randint(1, 9))) for _ in range(80)]
    bpe = learn_bpe([" ".join(words)], TokenizerTraining(vocabulary=60))
    assert list(bpe.rules) == slow(Counter(words), bpe.characters, 60 - 4 - len(bpe.characters))
    tokenizer = bpe.tokenizer
    for word in words:
        assert tokenizer.decode(tokenizer.encode(word)) == word
        # merging rule by rule, each from the left, gives what the reader gives
        text = [bpe.characters[letter] for letter in "▁" + word]
        for left, right, merged in bpe.rules:
            place = 0
            while place + 1 < len(text):
                if text[place : place + 2] == [left, right]:
                    text[place : place + 2] = [merged]
                place += 1
        assert tokenizer.encode(word) == text


def test_captions_come_back_from_their_ids() -> None:
    captions = ["красный жук на белом фоне", "открытка: надпись «с днём рождения»", "красная машина, вид сбоку"]
    bpe = learn_bpe(captions, TokenizerTraining(vocabulary=80))
    tokenizer = bpe.tokenizer
    assert [tokenizer.decode(tokenizer.encode(caption)) for caption in captions] == captions
    whole = tokenizer.encode_prompt("Красный жук", 32)
    assert len(whole.ids) == 32
    assert whole.ids[0] == 2
    assert whole.ids[whole.used - 1] == 3


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(UsageError, match="without a word"):
        learn_bpe(["  "], TokenizerTraining(vocabulary=100))
    with pytest.raises(UsageError, match="vocabulary 6 given; 4 special tokens and 4 characters"):
        learn_bpe(["abc"], TokenizerTraining(vocabulary=6))
    with pytest.raises(UsageError, match="coverage 0 given"):
        TokenizerTraining(vocabulary=6, coverage=0)
