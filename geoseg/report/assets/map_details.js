"use strict";

// Attributes of the selected polygon, and stepping between polygons.
const details = (() => {
  const { make, byId, number } = page;
  const { count, kind, rank, box, columns } = polygons;
  const card = byId("details");
  const KNOWN = {
    id: ["Object", (value) => String(value)],
    fid: ["Feature ID", (value) => String(value)],
    confidence: ["Confidence", (value) => number(value, 3)],
    confidence_min: ["Minimum confidence", (value) => number(value, 3)],
    pixels: ["Pixels", (value) => number(value)],
    area_m2: ["Area", (value) => `${number(value, value < 100 ? 2 : 0)} m²`],
    perimeter_m: ["Perimeter", (value) => `${number(value, value < 100 ? 2 : 0)} m`],
    box_length_m: ["Length", (value) => `${number(value, 1)} m`],
    box_width_m: ["Width", (value) => `${number(value, 1)} m`],
    box_angle: ["Angle from north", (value) => `${number(value)}°`],
    scene: ["Scene", String],
    touches_edge: ["Touches scene edge", String],
  };
  const ORDERS = {
    "largest first": () => null,
    "file order": () => rank,
    ...(classes.confidence ? { "lowest confidence first": () => classes.confidence } : {}),
  };
  let selected = -1, order = Object.keys(ORDERS)[0], list = null;

  // value of a column for polygon i, as text
  function formatted(column, i) {
    const value = column.values[i];
    if (column.kind === "text") return column.words[value];
    if (column.kind === "boolean") return value ? "yes" : "no";
    if (Number.isNaN(value)) return "";
    if (column.name in KNOWN) return KNOWN[column.name][1](value);
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(7)));
  }

  // visible polygons in the order of stepping
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
    const here = all.indexOf(selected);
    const next = here < 0 ? (by > 0 ? 0 : all.length - 1) : (here + by + all.length) % all.length;
    select(all[next]);
    if (!map.isLegible(selected)) zoomTo();
  }

  function select(i) {
    selected = i;
    map.select(i);
    card.hidden = i < 0;
    if (i < 0) { byId("announcement").textContent = ""; return; }
    fill(i);
    map.reveal(i, covered());
  }

  const zoomTo = () => { if (selected >= 0) map.reveal(selected, covered(), true); };

  // pixels at the edges of the map that the card covers
  function covered() {
    const across = card.offsetWidth > 0.6 * map.size[0];
    return { left: across ? 0 : card.offsetWidth + 24, bottom: across ? card.offsetHeight + 16 : 0 };
  }

  function fill(i) {
    const all = steps(), { name, colour } = classes.rows[kind[i]];
    const swatch = make("span", { class: "swatch" });
    swatch.style.backgroundColor = colour;
    const facts = columns.map((column) => [KNOWN[column.name]?.[0] || column.name, formatted(column, i)])
      .filter(([, value]) => value !== "");
    facts.push(["Centre", places.format((box[4 * i] + box[4 * i + 2]) / 2, (box[4 * i + 1] + box[4 * i + 3]) / 2)]);
    byId("announcement").textContent = [name, ...facts.map((fact) => fact.join(" "))].join(", ");
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
        button("zoom", "Zoom to polygon (Z)", "Zoom", zoomTo)),
      make("label", { class: "row muted" }, "Order ", make("select", { "data-act": "order", onchange: reorder },
        ...Object.keys(ORDERS).map((text) => make("option", { selected: text === order }, text)))));
    if (focused) card.querySelector(`[data-act="${focused}"]`)?.focus();
  }

  const button = (act, label, text, onclick) =>
    make("button", { type: "button", "data-act": act, "aria-label": label, title: label, onclick }, text);

  function reorder(event) {
    order = event.target.value;
    list = null;
    fill(selected);
  }

  function close() {
    const inside = card.contains(document.activeElement);
    select(-1);
    if (inside) map.canvas.focus();
  }

  classes.listeners.push(() => {
    list = null;
    if (selected >= 0) { if (map.visible[selected]) fill(selected); else close(); }
  });

  return { select, step, close, zoomTo, get selected() { return selected; } };
})();
