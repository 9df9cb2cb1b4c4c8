"use strict";

// Objects beyond F1: average precision and panoptic quality, kinds of error, and numbers per scene.

const ordersOfObjects = {
  precision: { key: "ap50", down: true },
  truth: { key: "total", down: true },
  found: { key: "total", down: true },
  counts: { key: "name", down: false },
};

const KINDS = {
  truth: {
    matched: "matched with a predicted object of the class",
    merged: "covered by one predicted object together with other annotated objects of the class",
    split: "covered by several predicted objects of the class",
    loose: "overlaps a predicted object of the class at a lower IoU, from 0.1",
    confused: "covered by a predicted object of another class",
    missed: "none of these",
  },
  found: {
    matched: "matched with an annotated object of the class",
    merged: "covers several annotated objects of the class",
    loose: "overlaps an annotated object of the class at a lower IoU, from 0.1",
    fragment: "lies on an annotated object of the class",
    confused: "lies on an annotated object of another class",
    speckle: "none of these, up to 16 pixels",
    invented: "none of these, larger",
  },
};

/** Tables and charts of the classes that have objects; parts that the evaluation lacks are hidden. */
function objectTables(evaluation) {
  const colour = palette(evaluation.legend);
  const rows = rowsOf(evaluation.classes).filter((row) => row.objects);
  const measured = rows.filter((row) => row.objects.ap && (row.objects.truth || row.objects.found));
  byId("precision").hidden = !measured.length;
  if (measured.length) byId("precision-table").replaceChildren(precisionTable(measured, colour));
  const kinds = rows.filter((row) => row.objects.kinds);
  byId("kinds").hidden = !kinds.length;
  if (kinds.length) {
    byId("kinds-truth").replaceChildren(kindTable("truth", "Annotated", kinds, colour));
    byId("kinds-found").replaceChildren(kindTable("found", "Predicted", kinds, colour));
  }
  sceneCounts(evaluation);
}

function precisionTable(rows, colour) {
  const boxes = rows.some((row) => known(row.objects.box_ap50));
  return sortable(
    "Average precision and panoptic quality per class, in percent",
    [
      named("Class", colour),
      barred("ap50", "AP50", "average precision at an IoU of 0.5", (r) => r.objects.ap.ap50, colour),
      numbers("ap", "AP", "mean over IoUs from 0.5 to 0.95", (r) => r.objects.ap.ap),
      numbers("ap75", "AP75", "average precision at an IoU of 0.75", (r) => r.objects.ap.ap75),
      ...["small", "medium", "large"].map((size) => numbers(size, `AP,\n${size}`, `AP of ${size} objects`, (r) => r.objects.ap[size])),
      numbers("pq", "PQ", "panoptic quality, of countable classes", (r) => r.objects.panoptic?.pq),
      numbers("sq", "SQ", "mean IoU of the matches", (r) => r.objects.panoptic?.sq),
      numbers("rq", "RQ", "F1 at an IoU above 0.5", (r) => r.objects.panoptic?.rq),
      ...(boxes ? [numbers("boxes", "Boxes\nAP50", "oriented boxes, in the protocol of DOTA", (r) => r.objects.box_ap50)] : []),
    ],
    rows,
    ordersOfObjects.precision,
  );
}

/** Share of every kind of error per class, as a stacked bar and in percent. */
function kindTable(side, title, rows, colour) {
  const kinds = KINDS[side];
  const counted = rows
    .map((row) => ({ name: row.name, kinds: row.objects.kinds[side] }))
    .map((row) => ({ ...row, total: Object.values(row.kinds).reduce((sum, n) => sum + n, 0) }))
    .filter((row) => row.total);
  const share = (row, kind) => row.kinds[kind] / row.total;
  return sortable(
    `${title} objects per class by kind, in percent`,
    [
      named("Class", colour),
      numbers("total", title, `${title.toLowerCase()} objects`, (row) => row.total, whole),
      { key: "stack", title: "Kinds", wide: true, of: (row) => share(row, "matched"), cell: (row) => stacked(row, Object.keys(kinds), share) },
      ...Object.entries(kinds).map(([kind, help]) => ({
        ...numbers(kind, kind[0].toUpperCase() + kind.slice(1), help, (row) => share(row, kind)),
        mark: kind,
      })),
    ],
    counted,
    ordersOfObjects[side],
  );
}

function stacked(row, kinds, share) {
  const parts = kinds.filter((kind) => row.kinds[kind]);
  return el(
    "span",
    { class: "stack", "aria-hidden": "true" },
    parts.map((kind) =>
      el("i", { class: `kind ${kind}`, style: { width: `${100 * share(row, kind)}%` }, title: `${kind}: ${whole(row.kinds[kind])}` }),
    ),
  );
}

/** Numbers of annotated and predicted objects per scene: a table of their errors, and a chart per group. */
function sceneCounts(evaluation) {
  const groups = Object.entries(evaluation.scene_counts ?? {}).filter(([, of]) => of.scenes.length);
  byId("scene-counts").hidden = !groups.length;
  if (!groups.length) return;
  const rows = groups.map(([name, of]) => ({ name, ...of.error }));
  byId("count-table").replaceChildren(
    sortable(
      "Error of the number of objects per scene, in percent",
      [
        { key: "name", title: "Objects", of: (row) => row.name, cell: (row) => row.name },
        numbers("truth", "Annotated", "in all scenes", (row) => row.truth, whole),
        numbers("found", "Predicted", "in all scenes", (row) => row.found, whole),
        ...["from_1", "from_10"].flatMap((key) => {
          const from = key === "from_1" ? "from 1" : "from 10";
          return [
            numbers(`${key}-scenes`, `Scenes\n${from}`, `scenes with at least this number of annotated objects`, (row) => row[key].scenes, whole),
            numbers(`${key}-median`, `Median\nerror`, "median of |predicted − annotated| / annotated", (row) => row[key].median),
            numbers(`${key}-mean`, `Mean\nerror`, "mean of |predicted − annotated| / annotated", (row) => row[key].mean),
          ];
        }),
      ],
      rows,
      ordersOfObjects.counts,
    ),
  );
  byId("count-charts").replaceChildren(...groups.map(([name, of], place) => countChart(`counts-${place}`, name, of.scenes)));
}

/** Predicted against annotated numbers; `scenes` are [annotated, predicted, number of such scenes]. */
function countChart(id, name, scenes) {
  const log = (value) => Math.log10(1 + value);
  const most = Math.max(10, ...scenes.flatMap(([truth, found]) => [truth, found]));
  const at = axes({ x: [0, log(most)], y: [0, log(most)] });
  const ticks = [0, 1, 10, 100, 1000, 10000, 100000].filter((value) => value <= most).map((value) => [log(value), short(value)]);
  return chart(
    id,
    `${name[0].toUpperCase()}${name.slice(1)} per scene`,
    `Each mark is a scene; larger marks are several. On the dashed line, as many objects are predicted as annotated. Scales are logarithmic.`,
    ["Annotated", "Predicted", "Scenes"],
    scenes.map((row) => row.map((value) => whole(value))),
    drawAxes(
      { ...at, x: (value) => at.x(value), y: (value) => at.y(value) },
      { xs: ticks, ys: ticks, xTitle: "annotated", yTitle: "predicted" },
    ),
    svg("path", { class: "ideal", d: path([[at.x(0), at.y(0)], [at.x(log(most)), at.y(log(most))]]) }),
    scenes.map(([truth, found, number]) =>
      svg(
        "circle",
        { class: "scene", cx: at.x(log(truth)), cy: at.y(log(found)), r: Math.min(9, 2.5 + 1.2 * Math.log2(number)) },
        svg("title", {}, `${whole(truth)} annotated, ${whole(found)} predicted: ${page.plural(number, "scene")}`),
      ),
    ),
  );
}
