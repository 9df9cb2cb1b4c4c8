"use strict";

// Legend: classes with counts and areas, their visibility, and the confidence filter.
const classes = (() => {
  const { make, byId, number, plural, data } = page;
  const { count, kind, box, byName } = polygons;
  const confidence = byName.get("confidence") || byName.get("score");
  const areas = byName.get("area_m2") || byName.get("pixels");
  const listeners = [];
  const rows = data.kinds.map((item, id) => ({ ...item, id, total: 0 }));
  for (let i = 0; i < count; i++) rows[kind[i]].total++;
  const present = rows.filter((row) => row.total).sort((a, b) => b.total - a.total);
  const inView = byId("in-view");
  let minimum = 0, counted = "";

  function area(square) {
    if (!byName.has("area_m2")) return `${number(square)} px`;
    if (square === null || Number.isNaN(square)) return "–";
    if (square < 1e4) return `${number(square, square < 10 ? 1 : 0)} m²`;
    return square < 1e6 ? `${number(square / 1e4, 2)} ha` : `${number(square / 1e6, 2)} km²`;
  }

  function table() {
    const heads = ["Class", "Polygons", ...(areas ? ["Area"] : [])];
    const head = make("tr", {}, ...heads.map((text, k) => make("th", { scope: "col", class: k ? "number" : null }, text)));
    byId("classes").append(
      make("caption", { class: "visually-hidden" }, "Classes: show and hide"),
      make("thead", {}, head), make("tbody", { role: "rowgroup" }, ...present.map(line)));
  }

  // explicit roles: screen readers may not see a table that is laid out as a grid
  function line(row) {
    row.box = make("input", { type: "checkbox", checked: true, onchange: update });
    const swatch = make("span", { class: "swatch" });
    swatch.style.backgroundColor = row.colour;
    row.count = make("td", { class: "number count", role: "cell" });
    row.area = areas && make("td", { class: "number area", role: "cell" });
    row.line = make("tr", { role: "row" },
      make("th", { scope: "row", role: "rowheader" }, make("label", {}, row.box, swatch, make("span", { class: "name" }, row.name))),
      row.count, row.area,
      make("td", { class: "act no-print", role: "cell" },
        make("button", { type: "button", class: "only", "aria-label": `Show only ${row.name}`, onclick: () => only(row) }, "only")));
    return row.line;
  }

  // show one class only, or all of them if it is the only one already
  function only(row) {
    const alone = present.every((other) => other.box.checked === (other === row));
    for (const other of present) other.box.checked = alone || other === row;
    update();
  }

  function set(on) {
    for (const row of present) row.box.checked = on;
    update();
  }

  const passes = (i) => !minimum || confidence[i] >= minimum - 1e-6;

  function update() {
    const on = new Uint8Array(rows.length);
    for (const row of present) on[row.id] = row.box.checked ? 1 : 0;
    let shown = 0;
    for (let i = 0; i < count; i++) shown += map.visible[i] = passes(i) && on[kind[i]] ? 1 : 0;
    for (const row of present) row.line.classList.toggle("off", !row.box.checked);
    byId("shown").textContent = shown === count
      ? `All ${plural(count, "polygon")} shown.` : `${number(shown)} of ${plural(count, "polygon")} shown.`;
    tally();
    map.draw();
    for (const listener of listeners) listener();
  }

  // count and measure each class: what passes the filter, in the whole file or with its centre in view
  function tally() {
    const passing = new Uint32Array(rows.length), sums = areas && new Float64Array(rows.length);
    const [left, top, right, bottom] = inView.checked ? map.bounds : [-Infinity, -Infinity, Infinity, Infinity];
    for (let i = 0; i < count; i++) {
      const x = (box[4 * i] + box[4 * i + 2]) / 2, y = (box[4 * i + 1] + box[4 * i + 3]) / 2;
      if (!passes(i) || x < left || x > right || y < top || y > bottom) continue;
      passing[kind[i]]++;
      if (areas) sums[kind[i]] += areas[i] || 0;
    }
    for (const row of present) {
      const all = passing[row.id] === row.total;
      row.count.textContent = all ? number(row.total) : `${number(passing[row.id])} of ${number(row.total)}`;
      if (areas) row.area.textContent = area(sums[row.id]);
    }
  }

  map.listeners.push(() => {
    const bounds = inView.checked ? map.bounds.join() : "";
    if (bounds === counted) return;
    counted = bounds;
    tally();
  });

  function filter() {
    if (!confidence) return;
    const slider = byId("confidence"), value = byId("confidence-value");
    const highest = confidence.reduce((most, one) => one > most ? one : most, 0);
    if (highest > 1) { slider.max = highest; slider.step = highest / 100; }
    slider.addEventListener("input", () => {
      minimum = Number(slider.value);
      value.textContent = minimum ? number(minimum, 2) : "any";
      slider.setAttribute("aria-valuetext", value.textContent);
      update();
    });
    value.textContent = "any";
    slider.value = 0;
    byId("filter").hidden = false;
  }

  table();
  filter();
  byId("all").addEventListener("click", () => set(true));
  byId("none").addEventListener("click", () => set(false));
  inView.addEventListener("change", tally);
  const total = areas && areas.reduce((sum, one) => sum + (one || 0), 0);
  byId("summary").textContent = `${plural(count, "polygon")} in ${plural(present.length, "class", "classes")}`
    + (areas && !Number.isNaN(total) ? `, ${area(total)} in total` : "");
  update();

  return { area, listeners, rows, confidence };
})();
