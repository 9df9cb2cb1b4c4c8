"use strict";

// What the chosen polygon is, and the way from one to the next.
const details = (() => {
  const { make, byId, number } = page;
  const { count, kind, rank, box, columns } = polygons;
  const card = byId("details");
  const KNOWN = {
    fid: ["Feature", (value) => String(value)],
    confidence: ["Confidence", (value) => number(value, 3)],
    confidence_min: ["Lowest confidence", (value) => number(value, 3)],
    pixels: ["Pixels", (value) => number(value)],
    area_m2: ["Area", (value) => `${number(value, value < 100 ? 2 : 0)} m²`],
    perimeter_m: ["Perimeter", (value) => `${number(value, value < 100 ? 2 : 0)} m`],
    scene: ["Scene", String],
    touches_edge: ["Touches the edge", String],
  };
  const ORDERS = {
    "largest first": () => null,
    "as in the file": () => rank,
    ...(classes.confidence ? { "least sure first": () => classes.confidence } : {}),
  };
  let chosen = -1, order = Object.keys(ORDERS)[0], list = null;

  // what a column says of polygon i, in words
  function said(column, i) {
    const value = column.values[i];
    if (column.kind === "text") return column.words[value];
    if (column.kind === "truth") return value ? "yes" : "no";
    if (Number.isNaN(value)) return "";
    if (column.name in KNOWN) return KNOWN[column.name][1](value);
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(7)));
  }

  // those that are shown, in the order of stepping
  function steps() {
    if (list) return list;
    list = Uint32Array.from({ length: count }, (_, i) => i).filter((i) => map.visible[i]);
    const key = ORDERS[order]();
    if (key) list.sort((a, b) => (key[a] - key[b]) || a - b);
    return list;
  }

  function step(by) {
    const all = steps();
    if (!all.length) return;
    const here = all.indexOf(chosen);
    const next = here < 0 ? (by > 0 ? 0 : all.length - 1) : (here + by + all.length) % all.length;
    choose(all[next]);
    if (!map.legible(chosen)) near();
  }

  function choose(i) {
    chosen = i;
    map.choose(i);
    card.hidden = i < 0;
    if (i < 0) { byId("said").textContent = ""; return; }
    fill(i);
    map.bring(i, covered());
  }

  const near = () => { if (chosen >= 0) map.bring(chosen, covered(), true); };

  // pixels at the edges of the map that the card takes
  function covered() {
    const across = card.offsetWidth > 0.6 * map.size[0];
    return { left: across ? 0 : card.offsetWidth + 24, bottom: across ? card.offsetHeight + 16 : 0 };
  }

  function fill(i) {
    const all = steps(), { name, colour } = classes.rows[kind[i]];
    const swatch = make("span", { class: "swatch" });
    swatch.style.backgroundColor = colour;
    const facts = columns.map((column) => [KNOWN[column.name]?.[0] || column.name, said(column, i)])
      .filter(([, value]) => value !== "");
    facts.push(["Middle", places.words((box[4 * i] + box[4 * i + 2]) / 2, (box[4 * i + 1] + box[4 * i + 3]) / 2)]);
    byId("said").textContent = [name, ...facts.map((fact) => fact.join(" "))].join(", ");
    const focused = card.contains(document.activeElement) && document.activeElement.dataset.act;
    card.replaceChildren(
      make("div", { class: "row" },
        make("h2", {}, swatch, " ", name),
        button("close", "Close (Esc)", "×", close)),
      make("dl", {}, ...facts.flatMap(([term, value]) => [make("dt", {}, term), make("dd", {}, value)])),
      make("div", { class: "row" },
        button("previous", "Previous (P)", "‹", () => step(-1)),
        make("span", { class: "muted number" }, `${number(all.indexOf(i) + 1)} of ${number(all.length)}`),
        button("next", "Next (N)", "›", () => step(1)),
        button("near", "Zoom to it (Z)", "Zoom", near)),
      make("label", { class: "row muted" }, "Order ", make("select", { "data-act": "order", onchange: reorder },
        ...Object.keys(ORDERS).map((text) => make("option", { selected: text === order }, text)))));
    if (focused) card.querySelector(`[data-act="${focused}"]`)?.focus();
  }

  const button = (act, label, text, onclick) =>
    make("button", { type: "button", "data-act": act, "aria-label": label, title: label, onclick }, text);

  function reorder(event) {
    order = event.target.value;
    list = null;
    fill(chosen);
  }

  function close() {
    const inside = card.contains(document.activeElement);
    choose(-1);
    if (inside) map.canvas.focus();
  }

  classes.listeners.push(() => {
    list = null;
    if (chosen >= 0) { if (map.visible[chosen]) fill(chosen); else close(); }
  });

  return { choose, step, close, near, get chosen() { return chosen; } };
})();
