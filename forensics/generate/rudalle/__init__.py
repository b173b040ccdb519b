"""ruDALL-E, native: an autoregressive transformer over text and image tokens, its VQGAN, tokenizer and re-ranker.

``generator`` joins the parts, ``models`` finds them. The modules, in the order in which an image is made:
``tokenizer`` (prompt to ids), ``config``, ``hub``, ``checkpoints``, ``converted``, ``bundle``, ``dummy`` and
``placement`` (which model, its files, its weights, where they lie), ``transformer`` with ``masks`` (the network),
``image_prompts`` and ``panorama`` (what is given; images beyond the square), ``decode`` with ``graph`` (one position a
step) and ``sampling`` (the loop over image tokens), ``vqgan`` (tokens to pixels), ``upscale``, ``ruclip`` (how well
prompt and image fit). They mean what the published ``rudalle`` package means with the same weights.
"""
