"use strict";

// Confusion matrix as a heat map; arrow keys move between cells.

const MAX_CLASSES = 40;
const DARK = 0.64; // cells above this strength have light text

let scale = "reference";
const SCALES = [
  ["reference", "% of ground truth"],
  ["labels", "% of predictions"],
  ["pixels", "pixels"],
];

function confusionMatrix(evaluation) {
  const place = byId("confusion-matrix");
  byId("confusion").hidden = !evaluation.confusion;
  if (!evaluation.confusion) return;
  const { names, counts } = mergeClasses(evaluation);
  const strengths = scaleCounts(counts);
  const detail = el("p", { class: "detail", role: "status", text: "Point at a cell, or use the arrow keys." });
  const redraw = () => confusionMatrix(evaluation);
  const choose = (value) => {
    scale = value;
    redraw();
    byId("confusion").querySelector("input:checked").focus();
  };
  const colour = palette(evaluation.legend);
  const table = matrixTable(names, counts, strengths, colour, (text) => (detail.textContent = text));
  place.replaceChildren(
    radios("scale", "Show", SCALES, scale, choose),
    el("div", { class: "scroll matrix-box" }, table),
    el("div", { class: "sidebar" }, detail, largestConfusions(names, counts)),
  );
}

/** Keep the classes with most pixels, at most MAX_CLASSES rows, and merge the others. */
function mergeClasses({ legend, confusion }) {
  const size = legend.length;
  if (size <= MAX_CLASSES) return { names: legend.map((c) => c.name), counts: confusion };
  const weight = (k) => confusion[k].reduce((a, b) => a + b, 0) + confusion.reduce((a, row) => a + row[k], 0);
  const kept = [...Array(size).keys()].sort((a, b) => weight(b) - weight(a)).slice(0, MAX_CLASSES - 1).sort((a, b) => a - b);
  const slot = new Map(kept.map((id, place) => [id, place]));
  const counts = Array.from({ length: MAX_CLASSES }, () => Array(MAX_CLASSES).fill(0));
  confusion.forEach((row, t) =>
    row.forEach((n, l) => (counts[slot.get(t) ?? MAX_CLASSES - 1][slot.get(l) ?? MAX_CLASSES - 1] += n)),
  );
  return { names: [...kept.map((id) => legend[id].name), `${size - kept.length} others`], counts };
}

/** Scale cells to 0…1: a share, or the logarithm of the pixels relative to the largest cell. */
function scaleCounts(counts) {
  const rows = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const columns = counts.map((_, k) => counts.reduce((a, row) => a + row[k], 0));
  const most = Math.log1p(Math.max(1, ...counts.flat()));
  const of = { reference: (n, t) => n / rows[t], labels: (n, _, l) => n / columns[l], pixels: (n) => Math.log1p(n) / most }[scale];
  return counts.map((row, t) => row.map((n, l) => (n ? of(n, t, l) : 0)));
}

function matrixTable(names, counts, strengths, colour, describe) {
  const rowSums = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const text = (t, l) => {
    const n = counts[t][l];
    const part = rowSums[t] ? ` ${percent(n / rowSums[t], 2)}\u00a0% of ${names[t]} in the ground truth.` : "";
    const what = t === l ? `${names[t]}, correct:` : `${names[t]}, predicted as ${names[l]}:`;
    return `${what} ${whole(n)} pixels.${part}`;
  };
  const table = el(
    "table",
    { class: "matrix", role: "grid" },
    el("caption", { class: "visually-hidden", text: "Confusion matrix: rows are the ground truth, columns the predictions" }),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { class: "corner" }, "ground truth ↓", el("br"), "predicted →"),
        names.map((name) => el("th", { scope: "col" }, el("span", { text: name }), swatch(colour(name)))),
      ),
    ),
    el(
      "tbody",
      {},
      names.map((name, t) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, el("span", { class: "named" }, name, swatch(colour(name)))),
          names.map((_, l) => heatCell(counts[t][l], strengths[t][l], t, l)),
        ),
      ),
    ),
  );
  addNavigation(table, text, describe);
  return table;
}

function heatCell(pixels, share, t, l) {
  const strength = scale === "pixels" ? share : share ** 0.6; // makes a few percent visible
  const text = scale === "pixels" ? (pixels ? short(pixels) : "") : share >= 0.005 ? percent(share, 0) : "";
  return el("td", {
    class: (strength > DARK ? "dark" : "") + (t === l ? " correct" : ""),
    tabindex: t || l ? "-1" : "0",
    "data-at": `${t},${l}`,
    style: { "--share": `${(100 * strength).toFixed(1)}%` },
    text,
  });
}

/** Describe the cell under the pointer or with the focus; arrows, Home and End move the focus. */
function addNavigation(table, text, describe) {
  const cellOf = (event) => event.target.closest?.("td");
  const at = (cell) => cell.dataset.at.split(",").map(Number);
  table.addEventListener("pointerover", (event) => cellOf(event) && describe(text(...at(cellOf(event)))));
  table.addEventListener("focusin", (event) => cellOf(event) && describe(text(...at(cellOf(event)))));
  table.addEventListener("keydown", (event) => {
    const cell = cellOf(event);
    if (!cell) return;
    const [t, l] = at(cell);
    const last = table.tBodies[0].rows.length - 1;
    const next = { ArrowUp: [t - 1, l], ArrowDown: [t + 1, l], ArrowLeft: [t, l - 1], ArrowRight: [t, l + 1], Home: [t, 0], End: [t, last] }[event.key];
    if (!next) return;
    event.preventDefault();
    const to = table.querySelector(`[data-at="${next.join(",")}"]`);
    if (!to) return;
    cell.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  });
}

/** List the largest confusions between object classes, as shares of the ground truth. */
function largestConfusions(names, counts) {
  const cells = counts.flatMap((row, t) => {
    const all = row.reduce((a, b) => a + b, 0);
    return row.map((pixels, l) => ({ t, l, pixels, share: pixels / all }));
  });
  const largest = cells
    .filter(({ t, l, pixels }) => t !== l && t > 0 && l > 0 && pixels)
    .sort((a, b) => b.share - a.share)
    .slice(0, 5);
  if (!largest.length) return null;
  const line = ({ t, l, pixels, share }) =>
    el("li", {}, el("b", { text: names[t] }), " predicted as ", el("b", { text: names[l] }), `: ${percent(share)}\u00a0% of its pixels (${short(pixels)})`);
  return el("div", {}, el("h3", { text: "Largest confusions" }), el("ol", { class: "ranking" }, largest.map(line)));
}
