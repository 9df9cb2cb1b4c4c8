"use strict";

// Objects and pixels per class on a logarithmic scale, and the ratio of quads to outlines.

const orderOfCounts = { key: "objects", down: true };
const orderOfQuads = { key: "ratio", down: true };

function distribution(evaluation, counts) {
  const here = counts?.[evaluation.truth];
  byId("distribution").hidden = !here;
  if (!here) return;
  const colour = palette(evaluation.legend);
  const names = evaluation.legend.map((c) => c.name).slice(1);
  const rows = names.map((name) => ({ name, objects: here.objects[name] ?? 0, pixels: here.pixels[name] ?? 0 }));
  byId("counts").replaceChildren(
    sortable(
      `Objects and pixels per class in this split, from ${evaluation.truth}; bars are logarithmic`,
      [named("Class", colour), logarithmic("objects", "Objects", rows, colour), logarithmic("pixels", "Pixels", rows, colour)],
      rows,
      orderOfCounts,
    ),
  );
  quadRatios(names, counts, colour);
}

function logarithmic(key, title, rows, colour) {
  const most = Math.log10(Math.max(10, ...rows.map((row) => row[key])));
  return {
    key,
    title,
    wide: true,
    of: (row) => row[key],
    cell: (row) =>
      el(
        "span",
        { class: "bar" },
        el("span", { class: "number", text: row[key] ? (key === "pixels" ? short(row[key]) : whole(row[key])) : "none" }),
        el(
          "span",
          { class: "track decades", "aria-hidden": "true", style: { "--decade": `${100 / most}%` } },
          // keep a single object visible
          el("i", { class: "fill", style: { width: row[key] ? `${Math.max(1.5, (100 * Math.log10(row[key])) / most)}%` : "0", background: colour(row.name) } }),
        ),
      ),
  };
}

/** Ratio of pixels in quads to pixels in outlines. */
function quadRatios(names, counts, colour) {
  const both = counts.quads && counts.outlines;
  byId("quads").hidden = !both;
  if (!both) return;
  const rows = names
    .filter((name) => counts.outlines.pixels[name] && counts.quads.pixels[name])
    .map((name) => ({
      name,
      quads: counts.quads.pixels[name],
      outlines: counts.outlines.pixels[name],
      ratio: counts.quads.pixels[name] / counts.outlines.pixels[name],
    }));
  const most = Math.max(2, ...rows.map((row) => row.ratio));
  byId("quads-table").replaceChildren(
    sortable(
      "Ratio of pixels in quads to pixels in outlines",
      [
        named("Class", colour),
        {
          key: "ratio",
          title: "Ratio",
          help: "pixels in quads divided by pixels in outlines",
          wide: true,
          of: (row) => row.ratio,
          cell: (row) =>
            el(
              "span",
              { class: "bar" },
              el("span", { class: "number", text: `${row.ratio.toFixed(2)} ×` }),
              el(
                "span",
                { class: "track", "aria-hidden": "true" },
                el("i", { class: "fill", style: { width: `${(100 * row.ratio) / most}%`, background: colour(row.name) } }),
                el("i", { class: "once", style: { left: `${100 / most}%` } }),
              ),
            ),
        },
        numbers("quad", "Quads", "pixels", (row) => row.quads, short),
        numbers("outline", "Outlines", "pixels", (row) => row.outlines, short),
      ],
      rows,
      orderOfQuads,
    ),
  );
}
