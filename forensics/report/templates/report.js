"use strict";
// The page reads without this script; it adds the comparer's slider and buttons, and the filter.
(() => {
  document.documentElement.classList.add("js");
  for (const box of document.querySelectorAll(".comparer")) {
    const stage = box.querySelector(".stage");
    const range = box.querySelector("input[type=range]");
    const buttons = [...box.querySelectorAll("button[data-mode]")];
    const place = () => {
      stage.style.setProperty("--x", range.value + "%");
      range.setAttribute("aria-valuetext", range.value + " % of the width show the generated image");
    };
    const mode = (name) => {
      const next = stage.dataset.mode === name ? "slide" : name;
      stage.dataset.mode = next;
      range.disabled = next !== "slide";
      for (const b of buttons) b.setAttribute("aria-pressed", String(b.dataset.mode === next));
    };
    const drag = (event) => {
      if (stage.dataset.mode !== "slide") return;
      const r = stage.getBoundingClientRect();
      range.value = String(Math.min(100, Math.max(0, Math.round(100 * (event.clientX - r.left) / r.width))));
      place();
    };
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      drag(event);
    });
    stage.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
    range.addEventListener("input", place);
    for (const b of buttons) b.addEventListener("click", () => mode(b.dataset.mode));
    place();
  }
  const bar = document.querySelector(".filter");
  if (!bar) return;
  bar.hidden = false;
  const words = bar.querySelector("input[type=search]");
  const selects = [...bar.querySelectorAll("select")];
  const items = [...document.querySelectorAll("[data-finding]")];
  const texts = new Map(items.map((item) => [item, null]));
  const said = bar.querySelector("output");
  const apply = () => {
    const query = words.value.trim().toLowerCase();
    let shown = 0;
    for (const item of items) {
      let fits = selects.every((s) => !s.value || item.dataset[s.name] === s.value);
      if (fits && query) {
        if (texts.get(item) === null) texts.set(item, item.textContent.toLowerCase());
        fits = texts.get(item).includes(query);
      }
      item.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    said.textContent = shown === items.length ? "" : shown + " of " + items.length + " shown";
  };
  let wait = 0;
  words.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(apply, 120); });
  for (const s of selects) s.addEventListener("change", apply);
})();
