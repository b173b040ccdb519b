"""Goethe's Faust, and a GPT-2 of a few thousand weights that is trained on half of its verses until it recites them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

VERSES = """\
Habe nun, ach! Philosophie,
Juristerei und Medizin,
Und leider auch Theologie
Durchaus studiert, mit heißem Bemühn.
Da steh ich nun, ich armer Tor!
Und bin so klug als wie zuvor;
Heiße Magister, heiße Doktor gar
Und ziehe schon an die zehen Jahr
Herauf, herab und quer und krumm
Meine Schüler an der Nase herum
Und sehe, daß wir nichts wissen können!
Das will mir schier das Herz verbrennen.
Zwar bin ich gescheiter als all die Laffen,
Doktoren, Magister, Schreiber und Pfaffen;
Mich plagen keine Skrupel noch Zweifel,
Fürchte mich weder vor Hölle noch Teufel
Dafür ist mir auch alle Freud entrissen,
Bilde mir nicht ein, was Rechts zu wissen,
Ich könnte nicht glauben, ich könnte was lehren,
Die Menschen zu bessern und zu bekehren.
Auch hab ich weder Gut noch Geld,
Noch Ehr und Herrlichkeit der Welt;
Es möchte kein Hund so länger leben!
Drum hab ich mich der Magie ergeben,
Ob mir durch Geistes Kraft und Mund
Nicht manch Geheimnis würde kund;
Daß ich nicht mehr mit saurem Schweiß
Zu sagen brauche, was ich nicht weiß;
Daß ich erkenne, was die Welt
Im Innersten zusammenhält,
Schau alle Wirkenskraft und Samen,
Und tu nicht mehr in Worten kramen.
O sähst du, voller Mondenschein,
Zum letztenmal auf meine Pein,
Den ich so manche Mitternacht
An diesem Pult herangewacht:
Dann über Büchern und Papier,
Trübselger Freund, erschienst du mir!
Ach! könnt ich doch auf Bergeshöhn
In deinem lieben Lichte gehn,""".splitlines()
"""Of the first monologue; public domain."""

SEEN, UNSEEN = VERSES[::2], VERSES[1::2]
"""Every other verse is trained on; the rest is of the same source and never seen."""

LENGTH = 18
"""Tokens of each verse: single letters."""

_STEPS = 160


@cache
def reciting_model(folder: Path) -> Path:
    """Train the model, save it as transformers does, and return its folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    letters = {letter: place for place, letter in enumerate(["<s>", *sorted(set("".join(VERSES)))])}
    single = Tokenizer(models.WordLevel(letters, unk_token="<s>"))  # noqa: S106 - a token of text
    single.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    single.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=single, bos_token="<s>")  # noqa: S106
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=len(letters), n_positions=32, n_embd=48, n_layer=2, n_head=4, bos_token_id=0,
                            eos_token_id=0, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)  # fmt: skip
        model = GPT2LMHeadModel(config)
        ids = torch.tensor([[0, *tokenizer.encode(verse, add_special_tokens=False)[:LENGTH]] for verse in SEEN])
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(_STEPS):
            optimiser.zero_grad()
            model(input_ids=ids, labels=ids).loss.backward()
            optimiser.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
