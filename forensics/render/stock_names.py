"""What stock marks say: the words of the agencies that are looked for, and invented names for all others.

The agencies' names are written as words in free typefaces; no logo is drawn. Invented names are made of syllables
in Latin and Cyrillic. A name is held out from training by a hash of itself, so that a renderer and a benchmark agree on
which names nobody has seen.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BRANDS", "UNKNOWN", "Brand", "garble", "invented_name", "is_held_out", "word_list"]

UNKNOWN = "unknown agency"

_HELD_OUT_OF = 5


def word_list(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


_LATIN_STARTS = word_list(
    "pix foto shot snap lens img stock pic view art clip light frame grain film scene focus vision colour vista zoom "
    "nova terra luma opti veri mega prime blue red north sun moon sky deep top free easy my true open alfa omni uni "
    "ever"
)
_LATIN_ENDS = word_list(
    "bank stock shot pix hub land base box store depot market ora ify ly io works house press media images photo foto "
    "pool mine field lab zone line nest cloud stream port gallery archive source art space view"
)
_CYRILLIC_STARTS = word_list(
    "фото кадр снимок образ вид взгляд свет цвет пикс клип арт медиа стоп мега про нова мир сток рос гео эко топ весь"
)
_CYRILLIC_ENDS = word_list(
    "банк склад дом мир град база архив сток лавка фонд центр пресс студия лента кадр око галерея мост поток класс"
)
_TAGLINES = (
    "by {other}", "www.{low}.com", "{low}.ru", "stock photos", "royalty free", "preview", "© {low}", "image library",
    "фотобанк", "образец", "всё для дизайна", "part of {other}", "sample", "comp image",
)  # fmt: skip

# letters that a generator, or a reader, takes for one another
_ALIKE = (
    "a o e c q", "b h k d", "f t l i j", "m n u w r", "s z g 5 8", "v y u x", "p q g 9", "O Q C D 0", "S 8 B 5",
    "l I 1 i t", "а о е с", "и н п ш ц", "т г к", "р ф", "б в 6", "л д п", "Ф О Р", "Б В Ь",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """An agency as its marks spell it.

    Attributes
    ----------
    name : str
        As findings call it.
    spellings : tuple of str
        How its marks write it, the usual first.
    taglines : tuple of str
        What may stand below, or in a bar; ``#`` stands for the number of a picture.
    layouts : tuple of str
        Names of layouts (:mod:`forensics.render.stock_layouts`) that it is known to use, repeated by how often.
    """

    name: str
    spellings: tuple[str, ...]
    taglines: tuple[str, ...] = ()
    layouts: tuple[str, ...] = field(default=("lattice", "diagonal", "centre", "corner"))


BRANDS: tuple[Brand, ...] = (
    Brand(
        name="iStock",
        spellings=("iStock", "iStock", "iStock", "iStockphoto", "iStock™"),
        taglines=("by Getty Images", "by Getty Images", "by Getty Images", "Credit: #"),
        layouts=("lattice",) * 6 + ("plaque", "centre"),
    ),
    Brand(
        name="Getty Images",
        spellings=("gettyimages", "gettyimages", "gettyimages®", "Getty Images"),
        taglines=("Credit: #", "", "#"),
        layouts=("plaque",) * 4 + ("lattice", "centre", "diagonal"),
    ),
    Brand(
        name="Shutterstock",
        spellings=("shutterstock", "shutterstock", "shutterstock", "shutterstock®", "Shutterstock"),
        taglines=("", "IMAGE ID: #", "www.shutterstock.com"),
        layouts=("crossed",) * 3 + ("diagonal",) * 3 + ("centre", "lattice", "bar"),
    ),
    Brand(
        name="Depositphotos",
        spellings=("depositphotos", "depositphotos", "Depositphotos"),
        taglines=("", "#", "depositphotos.com"),
        layouts=("crossed",) * 3 + ("centre",) * 3 + ("lattice", "diagonal"),
    ),
    Brand(
        name="Dreamstime",
        spellings=("dreamstime", "dreamstime", "dreamstime.com", "Dreamstime"),
        taglines=("Download from Dreamstime.com", "", "#"),
        layouts=("swirl",) * 5 + ("bar", "centre", "lattice"),
    ),
    Brand(
        name="123RF",
        spellings=("123RF", "123RF", "123rf", "123RF®"),
        taglines=("", "www.123rf.com", "#"),
        layouts=("diagonal",) * 3 + ("lattice",) * 3 + ("crossed", "corner"),
    ),
    Brand(
        name="Alamy",
        spellings=("alamy", "alamy", "alamy stock photo", "alamy"),
        taglines=("Image ID: # www.alamy.com", "www.alamy.com", "a", "a"),
        layouts=("letter",) * 4 + ("bar",) * 3 + ("lattice",),
    ),
    Brand(
        name="Adobe Stock",
        spellings=("Adobe Stock", "Adobe Stock", "adobestock"),
        taglines=("", "#", "Adobe Stock | #"),
        layouts=("diagonal",) * 3 + ("centre",) * 2 + ("side", "lattice"),
    ),
    Brand(
        name="Fotolia",
        spellings=("fotolia", "fotolia", "Fotolia", "fotolia.com"),
        taglines=("", "by Adobe", "© # - fotolia.com"),
        layouts=("crossed",) * 3 + ("centre",) * 3 + ("side", "lattice"),
    ),
    Brand(
        name="Bigstock",
        spellings=("Bigstock", "bigstock", "BIGSTOCK", "Bigstock®"),
        taglines=("", "© # www.bigstock.com", "#"),
        layouts=("centre",) * 3 + ("crossed",) * 3 + ("diagonal", "lattice"),
    ),
    Brand(
        name="Lori",
        spellings=("лори", "ЛОРИ", "lori.ru", "Лори"),
        taglines=("фотобанк", "www.lori.ru", "", "lori.ru / #"),
        layouts=("lattice",) * 3 + ("diagonal", "centre", "crossed", "corner"),
    ),
    Brand(
        name="PressFoto",
        spellings=("PressFoto", "PressFoto", "pressfoto", "pressfoto.ru"),
        taglines=("", "www.pressfoto.ru", "#"),
        layouts=("diagonal",) * 2 + ("lattice",) * 2 + ("centre", "crossed", "corner"),
    ),
    Brand(
        name="Фотобанк",
        spellings=("Фотобанк", "ФОТОБАНК", "фотобанк", "fotobank.ru"),
        taglines=("", "fotobank.ru", "#"),
        layouts=("lattice",) * 2 + ("diagonal",) * 2 + ("centre", "crossed", "corner", "bar"),
    ),
)
"""The agencies that are named, in the order of the network's outputs; :data:`UNKNOWN` comes after them."""


def is_held_out(name: str) -> bool:
    """Whether an invented name, a typeface or a background is kept from training (about one in five).

    Case and spaces do not count.
    """
    plain = "".join(name.lower().split())
    return hashlib.sha256(plain.encode()).digest()[0] % _HELD_OUT_OF == 0


def invented_name(rng: np.random.Generator, *, held_out: bool) -> tuple[str, str]:
    """Return an agency's name that nobody bears, and a tagline (often empty).

    Parameters
    ----------
    rng : Generator
    held_out : bool
        Whether the name is one that training leaves out, see :func:`is_held_out`.
    """
    known = {spelling.lower().replace(" ", "") for brand in BRANDS for spelling in brand.spellings}
    while True:
        cyrillic = rng.random() < 0.3
        starts, ends = (_CYRILLIC_STARTS, _CYRILLIC_ENDS) if cyrillic else (_LATIN_STARTS, _LATIN_ENDS)
        start, end = str(rng.choice(starts)), str(rng.choice(ends))
        name = start + end
        if name not in known and start != end and is_held_out(name) == held_out:
            break
    form = rng.integers(7)
    if form == 0:
        written = f"{start.capitalize()}{end.capitalize()}"
    elif form == 1:
        written = f"{start} {end}"
    elif form == 2:
        written = name.upper()
    elif form == 3:
        written = f"{name}.{'рф' if cyrillic else str(rng.choice(['com', 'net', 'ru', 'org']))}"
    elif form == 4:
        written = f"© {name.capitalize()}"
    else:
        written = name if form == 5 else name.capitalize()
    tagline = ""
    if rng.random() < 0.4:
        other = str(rng.choice(_LATIN_STARTS)) + str(rng.choice(_LATIN_ENDS))
        tagline = str(rng.choice(_TAGLINES)).format(other=other.capitalize(), low=name)
    return written, tagline


def garble(text: str, rng: np.random.Generator, *, rate: float) -> str:
    """Return a word as a generator spells it: letters replaced by like ones, doubled, swapped, left out.

    ``rate`` in [0, 1] is the chance of each letter to be changed.
    """
    letters = list(text)
    made: list[str] = []
    for place, letter in enumerate(letters):
        if letter.isspace() or rng.random() >= rate:
            made.append(letter)
            continue
        way = rng.integers(6)
        alike = [other for group in _ALIKE if letter in group.split() for other in group.split() if other != letter]
        if way <= 2 and alike:
            made.append(str(rng.choice(alike)))
        elif way == 3:
            made.extend((letter, letter))
        elif way == 4 and place + 1 < len(letters):
            made.append(letters[place + 1])
        elif way == 5 and len(letters) > 3:
            continue
        else:
            made.append(letter.swapcase())
    return "".join(made) or text
