"use strict";

// Tables of scores per class: pixels, objects, and the effect of a confidence threshold.

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
    "Pixel scores per class, in percent",
    [
      named("Class", colour),
      barred("iou", "IoU", "intersection over union; the thin line is the confidence interval", (r) => r.iou, colour, (r) => r.interval),
      numbers("precision", "Precision", "share of the predicted pixels that are correct", (r) => r.precision),
      numbers("recall", "Recall", "share of the ground truth pixels that are predicted", (r) => r.recall),
      numbers("f1", "F1", "harmonic mean of precision and recall", (r) => r.f1),
      numbers("boundary", "Boundary\nIoU", "IoU of the pixels near contours", (r) => r.boundary_iou),
      numbers("pixels", "Ground\ntruth", "pixels of the ground truth", (r) => r.pixels, short),
      numbers("predicted", "Predicted", "predicted pixels", (r) => r.predicted, short),
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
      `share of the ${size} annotated objects that are matched`,
      (r) => r.objects.by_size?.[size]?.recall,
    );
  return sortable(
    "Object scores per class: counts, and percent",
    [
      named("Class", colour),
      barred("f1", "F1", "harmonic mean of precision and recall", (r) => r.objects.f1, colour, (r) => r.objects.interval),
      numbers("truth", "Annotated", "annotated objects", (r) => r.objects.truth, whole),
      numbers("found", "Predicted", "predicted objects", (r) => r.objects.found, whole),
      numbers("matched", "Matched", "pairs of an annotated and a predicted object", (r) => r.objects.matched, whole),
      numbers("precision", "Precision", "share of the predicted objects that are matched", (r) => r.objects.precision),
      numbers("recall", "Recall", "share of the annotated objects that are matched", (r) => r.objects.recall),
      ...["small", "medium", "large"].map(sized),
    ],
    rows,
    orders.objects,
  );
}

/** Gain of a confidence threshold, for all classes together and for each class. */
function threshold(evaluation) {
  const { overall, classes } = evaluation.threshold ?? {};
  byId("threshold").hidden = !known(overall?.confidence);
  if (!known(overall?.confidence)) return;
  byId("threshold-overall").textContent =
    (overall.gain < 0.0005
      ? "No common threshold for all classes raises mean IoU. "
      : `The best common threshold for all classes is ${percent(overall.confidence)}\u00a0%: mean IoU ` +
        `${percent(overall.miou)}\u00a0% (${points(overall.gain)} points). `) +
    `The table lists the best threshold of each class. The thresholds are fitted to these scenes; expect smaller gains on others.`;
  const colour = palette(evaluation.legend);
  byId("threshold-table").replaceChildren(
    sortable(
      "Best confidence threshold per class, in percent",
      [
        named("Class", colour),
        numbers("confidence", "Threshold", "labels below this confidence become background", (r) => r.confidence),
        barred("iou", "IoU", "IoU of the class with its threshold", (r) => r.iou, colour),
        numbers("gain", "Gain, points", "compared with no threshold", (r) => r.gain, points),
      ],
      rowsOf(classes),
      orders.threshold,
    ),
  );
}

/** 0.0123 → +1.2 */
const points = (value) => (known(value) ? `${value > 0 ? "+" : ""}${(100 * value).toFixed(1)}` : NONE);
