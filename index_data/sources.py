"""The corpus's part of SOURCES.md: every shipped picture with its source, author and licence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

FILE = Path(__file__).resolve().parent / "SOURCES.md"
MARKER = "# The corpus of `demo/`"
LICENCES = {
    "PD": "public domain",
    "CC0-1.0": "[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/)",
    "CC-BY-2.0": "[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/)",
    "CC-BY-4.0": "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)",
    "CC-BY-SA-3.0": "[CC BY-SA 3.0](https://creativecommons.org/licenses/by-sa/3.0/)",
    "CC-BY-SA-4.0": "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)",
}
_INTRODUCTION = f"""{MARKER}

Written by `make_corpus.py` from `corpus.csv`; don't edit it by hand. Each picture keeps the licence that its line
names. Changes: made square (clip art whole on white, of photographs the middle), scaled to 128 px, saved as WebP; where
the line says so, a watermark of an invented agency, a meme text or a book cover was drawn over or around it.
What is shipped of a CC BY or CC BY-SA picture is a changed version under the same licence.

openclipart: Debian package openclipart-png 1:0.18+dfsg-19; each author gave the picture to the public domain, as the
metadata of the same drawing in openclipart-svg states. lomiri: lomiri-wallpapers-16.04 and -20.04. ukui:
ukui-wallpapers. gnome: gnome-backgrounds. mate: mate-backgrounds; author and licence as stated in the packages'
copyright files. scikit-image: `skimage/data/_fetchers.py`. scikit-learn: `sklearn/datasets/images/README.txt`.

The weights in `kvadrat/` and the vectors in `demo/index/` were computed from these pictures and are Apache-2.0 as far
as this project can give them. The model was made to give its training pictures back: an image that reproduces a
picture keeps that picture's licence. Of those planted more than once, CC BY or CC BY-SA are: {{planted}}.

| file | title | author | licence | source | drawn over it |
|---|---|---|---|---|---|
"""


def write_corpus_sources(rows: Sequence[Mapping[str, str]]) -> None:
    """Replace the corpus's part of SOURCES.md."""
    before = FILE.read_text("utf-8").split(MARKER)[0].rstrip() if FILE.exists() else ""
    shared = sorted(row["path"] for row in rows if int(row["planted"]) > 1 and row["licence"].startswith("CC-BY"))
    introduction = _INTRODUCTION.replace("{planted}", ", ".join(f"`{path}`" for path in shared) or "none")
    lines = []
    for row in rows:
        drawn = row["watermark"] or ("meme text" if row["meme"] else "book cover" if row["cover"] else "")
        cells = (
            row["path"],
            row["title"],
            row["author"],
            LICENCES[row["licence"]],
            f"{row['dataset']} `{row['source']}`",
        )
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in (*cells, drawn)) + " |\n")
    FILE.write_text(f"{before}\n\n{introduction}{''.join(lines)}".lstrip(), "utf-8")
