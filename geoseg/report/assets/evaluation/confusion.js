"use strict";

// The confusion matrix: a table whose cells are as dark as they are full. Arrow keys walk it.

const MOST_CLASSES = 40;
const FLIP = 0.64; // from here on a number is readable in the colour of the paper, before in that of ink

let scale = "truth";
const SCALES = [
  ["truth", "% of the truth"],
  ["labels", "% of the labels"],
  ["pixels", "pixels"],
];

function confusionMatrix(evaluation) {
  const place = byId("confusion-matrix");
  byId("confusion").hidden = !evaluation.confusion;
  if (!evaluation.confusion) return;
  const { names, counts } = fewer(evaluation);
  const shown = shares(counts);
  const detail = el("p", { class: "detail", role: "status", text: "Point at a cell, or walk with the arrow keys." });
  const redraw = () => confusionMatrix(evaluation);
  const choose = (value) => {
    scale = value;
    redraw();
    byId("confusion").querySelector("input:checked").focus();
  };
  const colour = palette(evaluation.legend);
  const table = grid(names, counts, shown, colour, (text) => (detail.textContent = text));
  place.replaceChildren(
    radios("scale", "Show", SCALES, scale, choose),
    el("div", { class: "scroll matrix-box" }, table),
    el("div", { class: "beside" }, detail, largestMistakes(names, counts)),
  );
}

/** At most MOST_CLASSES rows: those of the classes with most pixels, and all others as one. */
function fewer({ legend, confusion }) {
  const size = legend.length;
  if (size <= MOST_CLASSES) return { names: legend.map((c) => c.name), counts: confusion };
  const weight = (k) => confusion[k].reduce((a, b) => a + b, 0) + confusion.reduce((a, row) => a + row[k], 0);
  const kept = [...Array(size).keys()].sort((a, b) => weight(b) - weight(a)).slice(0, MOST_CLASSES - 1).sort((a, b) => a - b);
  const slot = new Map(kept.map((id, place) => [id, place]));
  const counts = Array.from({ length: MOST_CLASSES }, () => Array(MOST_CLASSES).fill(0));
  confusion.forEach((row, t) =>
    row.forEach((n, l) => (counts[slot.get(t) ?? MOST_CLASSES - 1][slot.get(l) ?? MOST_CLASSES - 1] += n)),
  );
  return { names: [...kept.map((id) => legend[id].name), `${size - kept.length} others`], counts };
}

/** What each cell shows, 0 to 1: a share, or the logarithm of its pixels against the largest. */
function shares(counts) {
  const rows = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const columns = counts.map((_, k) => counts.reduce((a, row) => a + row[k], 0));
  const most = Math.log1p(Math.max(1, ...counts.flat()));
  const of = { truth: (n, t) => n / rows[t], labels: (n, _, l) => n / columns[l], pixels: (n) => Math.log1p(n) / most }[scale];
  return counts.map((row, t) => row.map((n, l) => (n ? of(n, t, l) : 0)));
}

function grid(names, counts, shown, colour, tell) {
  const rowSums = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const said = (t, l) => {
    const n = counts[t][l];
    const part = rowSums[t] ? ` ${percent(n / rowSums[t], 2)}\u00a0% of the true ${names[t]}.` : "";
    const what = t === l ? `${names[t]}, labelled right:` : `True ${names[t]}, labelled ${names[l]}:`;
    return `${what} ${whole(n)} pixels.${part}`;
  };
  const table = el(
    "table",
    { class: "matrix", role: "grid" },
    el("caption", { class: "visually-hidden", text: "Confusion matrix: rows are the truth, columns the labels of the model" }),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { class: "corner", text: "true ↓ labelled →" }),
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
          names.map((_, l) => heated(counts[t][l], shown[t][l], t, l)),
        ),
      ),
    ),
  );
  walked(table, said, tell);
  return table;
}

function heated(pixels, share, t, l) {
  const strength = scale === "pixels" ? share : share ** 0.6; // so that a few percent are seen
  const text = scale === "pixels" ? (pixels ? short(pixels) : "") : share >= 0.005 ? percent(share, 0) : "";
  return el("td", {
    class: (strength > FLIP ? "dark" : "") + (t === l ? " right" : ""),
    tabindex: t || l ? "-1" : "0",
    "data-at": `${t},${l}`,
    style: { "--share": `${(100 * strength).toFixed(1)}%` },
    text,
  });
}

/** One cell is in the tab order; arrows, Home and End move it; whatever is pointed at or focused is told. */
function walked(table, said, tell) {
  const cellOf = (event) => event.target.closest?.("td");
  const at = (cell) => cell.dataset.at.split(",").map(Number);
  table.addEventListener("pointerover", (event) => cellOf(event) && tell(said(...at(cellOf(event)))));
  table.addEventListener("focusin", (event) => cellOf(event) && tell(said(...at(cellOf(event)))));
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

/** Objects taken for those of another class, as shares of the truth. */
function largestMistakes(names, counts) {
  const wrong = counts.flatMap((row, t) => {
    const all = row.reduce((a, b) => a + b, 0);
    return row.map((pixels, l) => ({ t, l, pixels, share: pixels / all }));
  });
  const largest = wrong
    .filter(({ t, l, pixels }) => t !== l && t > 0 && l > 0 && pixels)
    .sort((a, b) => b.share - a.share)
    .slice(0, 5);
  if (!largest.length) return null;
  const line = ({ t, l, pixels, share }) =>
    el("li", {}, el("b", { text: names[t] }), " taken for ", el("b", { text: names[l] }), `: ${percent(share)}\u00a0% of its pixels (${short(pixels)})`);
  return el("div", {}, el("h3", { text: "Taken for one another" }), el("ol", { class: "ranking" }, largest.map(line)));
}
