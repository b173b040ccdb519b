"""How the agencies that are named spell themselves on their marks, and the ordinary words that come near."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["AGENCIES", "GENERIC", "ORDINARY", "UNKNOWN_AGENCY", "WHOLE", "Agency"]

UNKNOWN_AGENCY = "unknown agency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """An agency's words.

    Attributes
    ----------
    spellings : tuple of str
        Each names the agency by itself.
    beside : tuple of str
        What its mark says beside the name; agrees with a reading, names nobody.
    names : str
        Another agency that its marks name as well: iStock's say *by Getty Images*, Lori's full name is *Фотобанк Лори*.
    """

    spellings: tuple[str, ...]
    beside: tuple[str, ...] = ()
    names: str = ""


AGENCIES: Mapping[str, Agency] = MappingProxyType(
    {
        "iStock": Agency(
            spellings=("istock", "istockphoto", "istockphotocom"), beside=("by getty images",), names="Getty Images"
        ),
        "Getty Images": Agency(spellings=("gettyimages", "gettyimagescom"), beside=("credit",)),
        "Shutterstock": Agency(spellings=("shutterstock", "shutterstockcom"), beside=("image id",)),
        "Depositphotos": Agency(spellings=("depositphotos", "depositphotoscom")),
        "Dreamstime": Agency(spellings=("dreamstime", "dreamstimecom"), beside=("download from",)),
        "123RF": Agency(spellings=("123rf", "123rfcom")),
        "Alamy": Agency(spellings=("alamy", "alamycom", "alamystockphoto"), beside=("image id",)),
        "Adobe Stock": Agency(spellings=("adobestock", "adobestockcom", "stockadobecom")),
        "Fotolia": Agency(spellings=("fotolia", "fotoliacom"), beside=("by adobe",), names="Adobe Stock"),
        "Bigstock": Agency(spellings=("bigstock", "bigstockphoto", "bigstockcom", "bigstockphotocom")),
        "Lori": Agency(spellings=("лори", "loriru"), beside=("фотобанк",), names="Фотобанк"),
        "PressFoto": Agency(spellings=("pressfoto", "прессфото", "pressfotoru", "pressfotocom")),
        "Фотобанк": Agency(spellings=("фотобанк", "fotobank", "fotobankru")),
    }
)
"""Agency to its words, folded of case and without spaces or dots; the keys are what findings call them."""

GENERIC: tuple[str, ...] = ("images", "stock", "photos", "photo", "foto", "фото", "com")
"""Parts of names that many agencies have."""
WHOLE: tuple[str, ...] = ("fotolia", "fotoliacom")
"""Names that only look as if they had one."""

_ORDINARY = """
    stock stocks stocky stuck stick sticks stack stork stoke rock rocks block clock flock frock shock smock knock
    dock lock sock cock mock restock instock livestock woodstock overstock shutter shutters shattered dream dreams
    dreamtime dreamer time times deposit deposits depots photo photos photography photobook foto fotos adobe getty
    image images big bigfoot pigstock press pressed express bank banks banka fotograf alarm alamo alloy alas malay
    balmy slimy glory lord lore lorry lorikeet loris polo nora noir tori fort form port color фото фотоаппарат
    фотография фотограф банк банка банки пресс пресса лора лорд горы хори дори тори воры поры пори лари лоси лопи
    поди логи калории стоимость фотобанки фотобумага photobank fotoland photoland photostock fotostock freestock
    footstock pixstock getting pretty jetty betty gettysburg fetish utter butter gutter mutter stutter scuttle
    shuttle stockphoto stockphotos
"""

ORDINARY: tuple[str, ...] = tuple(_ORDINARY.split())
"""Words that are no agency's; a reading that is at least as near to one of them names nobody."""
