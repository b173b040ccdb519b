"""ruDALL-E, native: an autoregressive transformer over text and image tokens, its VQGAN, tokenizer and re-ranker.

The modules, in the order in which an image is made: ``tokenizer`` (prompt to ids), ``config``, ``hub``, ``checkpoints``
and ``converted`` (which model, its files, its weights), ``transformer`` with ``masks`` (the network), ``decode`` (one
position a step) and ``sampling`` (the loop over image tokens), ``vqgan`` (tokens to pixels), ``upscale``, ``ruclip``
(how well prompt and image fit). They mean what the published ``rudalle`` package means with the same weights.
"""
