"use strict";

// Summary scores with their intervals, and those of the other references in small print.

const HEADLINES = [
  ["Mean IoU", "over classes, without background", (e) => e.miou, "miou"],
  ["Object F1", "polygons, matched one to one", (e) => e.objects?.f1, "objects_f1"],
  ["Object AP50", "average precision, mean over classes", (e) => e.objects?.ap?.ap50, "objects_ap50"],
  ["Panoptic quality", "mean over countable classes", (e) => e.objects?.panoptic?.pq, "objects_pq"],
  ["Boundary IoU", "mean, pixels near contours", (e) => e.boundary_miou, "boundary_miou"],
  ["Weighted IoU", "weighted by class frequency", (e) => e.fwiou, "fwiou"],
  ["Pixel accuracy", "background included", (e) => e.accuracy, "accuracy"],
  ["Calibration error", "mean gap between confidence and accuracy", (e) => e.calibration?.ece, "ece"],
];

function headline(evaluation, others) {
  const available = HEADLINES.filter(([, , of]) => known(of(evaluation)));
  byId("headline").replaceChildren(
    ...available.map(([title, what, of, key], place) => {
      const interval = evaluation.intervals?.[key];
      return el(
        "div",
        { class: place === 0 ? "figure first" : "figure" },
        el("dt", { text: title }),
        el("dd", {}, el("b", { text: percent(of(evaluation)) }), el("span", { class: "unit", text: "%" })),
        interval?.every(known) ? el("dd", { class: "spread" }, spread(of(evaluation), interval)) : null,
        el("dd", { class: "what" }, interval?.every(known) ? `${range(interval)} · ${what}` : what),
        others
          .filter((other) => known(of(other)))
          .map((other) => el("dd", { class: "other", text: `${other.truth} ${percent(of(other))}` })),
      );
    }),
  );
  const level = evaluation.intervals?.level;
  byId("intervals").textContent = known(level) && evaluation.intervals.miou?.every(known)
    ? `Ranges are ${percent(level, 0)}\u00a0% confidence intervals, from a bootstrap over scenes with ${whole(evaluation.intervals.resamples)} resamples.`
    : "";
}

/** Score and interval on a line from 0 to 1. */
function spread(value, [low, high]) {
  const at = (share) => `${100 * Math.min(1, Math.max(0, share))}%`;
  return el(
    "span",
    { class: "line", "aria-hidden": "true" },
    el("i", { class: "band", style: { left: at(low), width: at(high - low) } }),
    el("i", { class: "dot", style: { left: at(value) } }),
  );
}
