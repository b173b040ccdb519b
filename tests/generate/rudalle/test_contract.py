"""ruDALL-E as the generator that every other one is held to: see :mod:`forensics.testing.generators`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.generate.rudalle.checkpoints import random_transformer
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.dummy import character_tokenizer, random_vqgan
from forensics.generate.rudalle.generator import RudalleGenerator
from forensics.testing import check_generator
from forensics.types import Scalar
from tests.generate.rudalle.models import VQGAN, spread

CONFIG = TransformerConfig(
    layers=4, hidden=32, heads=2, text_length=12, image_side=6, text_vocab=140, image_vocab=VQGAN.codes
)


@pytest.mark.parametrize(
    "settings", [{}, {"guidance": 2.0}, {"size": "9x6"}, {"size": "6x10"}, {"up": 2, "right": 1, "crop_first": True}]
)
def test_it_keeps_the_contract(settings: dict[str, Scalar], tmp_path: Path) -> None:
    if "up" in settings:
        picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / "picture.png")
        settings = settings | {"image_prompt": str(tmp_path / "picture.png")}
    model = spread(random_transformer(CONFIG))
    generator = RudalleGenerator(model, random_vqgan(VQGAN), character_tokenizer(), name="small")
    check_generator(generator, prompts=["круг", "красный дом", "a"], settings=settings)
