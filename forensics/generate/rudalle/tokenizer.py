"""The tokenizer of ruDALL-E and ruCLIP: YouTokenToMe's byte-pair encoding, see :mod:`forensics.bpe`."""

from __future__ import annotations

from forensics.bpe import BEGIN, END, PAD, UNKNOWN, EncodedPrompt, Tokenizer

__all__ = ["BEGIN", "END", "PAD", "UNKNOWN", "EncodedPrompt", "Tokenizer"]
