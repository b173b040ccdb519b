"""Draws what tests, the demo and the benchmarks need: edits with known geometry, text, marks, a generator's repaint.

``edited`` (the result of an edit and how edits are joined), ``spatial`` (crop, resize, mirror, rotate, tilt, pad),
``tones`` (colour, blur, noise, compression), ``layouts`` (paste, collage, blend, stripes, screenshot), ``text``,
``marks``, ``redraw``. Everything takes (H, W, 3) uint8 RGB arrays and, where chance plays a part, an explicit
``numpy.random.Generator``.
"""
