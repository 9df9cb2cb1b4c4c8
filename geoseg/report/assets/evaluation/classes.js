"use strict";

// Scores class by class: of pixels, of objects, and what a threshold on the confidence would change.

const orders = {
  pixels: { key: "iou", down: true },
  objects: { key: "f1", down: true },
  threshold: { key: "gain", down: true },
};

const rowsOf = (classes) => Object.entries(classes ?? {}).map(([name, scores]) => ({ name, ...scores }));

function classTables(evaluation) {
  const colour = palette(evaluation.legend);
  const rows = rowsOf(evaluation.classes);
  byId("pixel-table").replaceChildren(pixelTable(rows, colour));
  const withObjects = rows.filter((row) => row.objects);
  byId("objects").hidden = !withObjects.length;
  byId("match").textContent = evaluation.objects?.iou ?? 0.5;
  if (withObjects.length) byId("object-table").replaceChildren(objectTable(withObjects, colour));
}

function pixelTable(rows, colour) {
  return sortable(
    "Scores of pixels by class, in percent",
    [
      named("Class", colour),
      barred("iou", "IoU", "intersection over union; the thin line is its interval", (r) => r.iou, colour, (r) => r.interval),
      numbers("precision", "Precision", "share of what is labelled so that is true", (r) => r.precision),
      numbers("recall", "Recall", "share of what is truly there that is labelled so", (r) => r.recall),
      numbers("f1", "F1", "harmonic mean of both", (r) => r.f1),
      numbers("boundary", "Boundary IoU", "IoU of the pixels near an edge", (r) => r.boundary_iou),
      numbers("pixels", "True pixels", "pixels of the truth", (r) => r.pixels, short),
      numbers("predicted", "Labelled", "pixels that the model labels so", (r) => r.predicted, short),
    ],
    rows,
    orders.pixels,
  );
}

function objectTable(rows, colour) {
  const sized = (size) =>
    numbers(
      size,
      `Recall,\n${size}`,
      `share of the ${size} objects that are found`,
      (r) => r.objects.by_size?.[size]?.recall,
    );
  return sortable(
    "Scores of objects by class: numbers, and percent",
    [
      named("Class", colour),
      barred("f1", "F1", "harmonic mean of precision and recall of objects", (r) => r.objects.f1, colour, (r) => r.objects.interval),
      numbers("truth", "True", "annotated objects", (r) => r.objects.truth, whole),
      numbers("found", "Found", "objects in the prediction", (r) => r.objects.found, whole),
      numbers("matched", "Matched", "pairs of a true and a found object", (r) => r.objects.matched, whole),
      numbers("precision", "Precision", "matched of found", (r) => r.objects.precision),
      numbers("recall", "Recall", "matched of true", (r) => r.objects.recall),
      ...["small", "medium", "large"].map(sized),
    ],
    rows,
    orders.objects,
  );
}

/** What a threshold on the confidence would gain, overall and by class. */
function threshold(evaluation) {
  const { overall, classes } = evaluation.threshold ?? {};
  byId("threshold").hidden = !known(overall?.confidence);
  if (!known(overall?.confidence)) return;
  byId("threshold-overall").textContent =
    (overall.gain < 0.0005
      ? "No threshold for all classes together raises mean IoU. "
      : `One threshold for all classes is best at ${percent(overall.confidence)}\u00a0%: mean IoU ` +
        `${percent(overall.miou)}\u00a0% (${points(overall.gain)} points). `) +
    `With a threshold of its own, each class changes as below. Chosen on these scenes, a threshold gains less on others.`;
  const colour = palette(evaluation.legend);
  byId("threshold-table").replaceChildren(
    sortable(
      "Best threshold of each class, in percent",
      [
        named("Class", colour),
        numbers("confidence", "Threshold", "labels of a lower confidence become background", (r) => r.confidence),
        barred("iou", "IoU then", "of the class, at its threshold", (r) => r.iou, colour),
        numbers("gain", "Gain, points", "over no threshold", (r) => r.gain, points),
      ],
      rowsOf(classes),
      orders.threshold,
    ),
  );
}

/** 0.0123 → +1.2 */
const points = (value) => (known(value) ? `${value > 0 ? "+" : ""}${(100 * value).toFixed(1)}` : NONE);
