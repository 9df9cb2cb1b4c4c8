"use strict";

// SVG charts, each with a title, a description, and a table of its numbers.

const WIDE = 420;
const HIGH = 300;
const FRAME = { left: 46, right: 12, top: 18, bottom: 40 };

/** Scales from values to chart coordinates. */
function axes({ x: [x0, x1], y: [y0, y1], top = FRAME.top, bottom = HIGH - FRAME.bottom }) {
  const right = WIDE - FRAME.right;
  return {
    top,
    bottom,
    x: (value) => FRAME.left + ((right - FRAME.left) * (value - x0)) / (x1 - x0 || 1),
    y: (value) => bottom - ((bottom - top) * (value - y0)) / (y1 - y0 || 1),
  };
}

/** Grid lines, ticks ([value, text]) and axis titles. */
function drawAxes(at, { xs = [], ys = [], xTitle, yTitle }) {
  const left = FRAME.left;
  const right = WIDE - FRAME.right;
  return [
    ys.map(([value, text]) => [
      svg("line", { class: "grid", x1: left, x2: right, y1: at.y(value), y2: at.y(value) }),
      svg("text", { class: "tick", x: left - 6, y: at.y(value) + 4, "text-anchor": "end" }, text),
    ]),
    xs.map(([value, text]) => svg("text", { class: "tick", x: at.x(value), y: at.bottom + 16, "text-anchor": "middle" }, text)),
    svg("line", { class: "axis", x1: left, x2: right, y1: at.bottom, y2: at.bottom }),
    xTitle ? svg("text", { class: "name", x: right, y: at.bottom + 33, "text-anchor": "end" }, xTitle) : [],
    yTitle ? svg("text", { class: "name", x: left, y: at.top - 7 }, yTitle) : [],
  ].flat(2);
}

/** Figure with heading, chart, description, and a table of its numbers. */
function chart(id, title, description, head, rows, ...drawn) {
  return el(
    "figure",
    { class: "chart" },
    el("h3", { text: title }),
    svg(
      "svg",
      { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-labelledby": `${id}-title ${id}-desc` },
      svg("title", { id: `${id}-title` }, title),
      svg("desc", { id: `${id}-desc` }, description),
      ...drawn.flat(Infinity),
    ),
    el("figcaption", { text: description }),
    numbersTable(title, head, rows),
  );
}

const numbersTable = (title, head, rows) =>
  el(
    "details",
    { class: "numbers" },
    el("summary", {}, "Numbers", el("span", { class: "visually-hidden", text: ` of ${title}` })),
    el(
      "div",
      { class: "scroll", role: "region", "aria-label": `${title}, numbers`, tabindex: "0" },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col", class: "number", text })))),
        el("tbody", {}, rows.map((row) => el("tr", {}, row.map((text) => el("td", { class: "number", text }))))),
      ),
    ),
  );

const path = (points) => points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
const shareTicks = [0, 0.25, 0.5, 0.75, 1].map((value) => [value, percent(value, 0)]);

const filled = ({ bins }) => bins.filter((bin) => bin.pixels && known(bin.accuracy) && known(bin.confidence));

/** Reliability diagram of all pixels, and of those predicted as an object. */
function reliability(calibration) {
  const at = axes({ x: [0, 1], y: [0, 1], bottom: 204 });
  const below = axes({ x: [0, 1], y: [0, 1], top: 218 });
  const all = filled(calibration);
  const series = [["all pixels", "first", all]];
  if (calibration.objects) series.push(["predicted as an object", "second", filled(calibration.objects)]);
  const most = Math.max(...all.map((bin) => bin.pixels));
  const shares = all.map((bin) => {
    const top = below.y(bin.pixels / most);
    const [left, right] = [below.x(bin.from) + 1, below.x(bin.to) - 1];
    return svg("rect", { class: "column", x: left, width: Math.max(1, right - left), y: top, height: below.bottom - top });
  });
  const errors = calibration.objects
    ? `${percent(calibration.ece)}\u00a0% of all pixels, ${percent(calibration.objects.ece)}\u00a0% of those predicted as an object`
    : `${percent(calibration.ece)}\u00a0%`;
  return chart(
    "reliability",
    "Reliability",
    `Accuracy of the labels by confidence; on the dashed line, confidence equals accuracy. ` +
      `Columns show the number of pixels. Expected calibration error: ${errors}.`,
    ["Pixels", "Confidence, %", "Accuracy, %", "Number"],
    series.flatMap(([of, , bins]) => bins.map((bin) => [of, percent(bin.confidence), percent(bin.accuracy), whole(bin.pixels)])),
    drawAxes(at, { ys: shareTicks, yTitle: "accuracy, %" }),
    drawAxes(below, { xs: shareTicks, xTitle: "confidence, %" }),
    svg("path", { class: "ideal", d: path([[at.x(0), at.y(0)], [at.x(1), at.y(1)]]) }),
    shares,
    series.map(([of, kind, bins], place) => [
      svg("path", { class: `line ${kind}`, d: path(bins.map((bin) => [at.x(bin.confidence), at.y(bin.accuracy)])) }),
      bins.map((bin) => binMarker(at, of, kind, bin)),
      series.length > 1 ? svg("text", { class: `name ${kind}`, x: at.x(0.04), y: at.y(0.9) + 17 * place }, `● ${of}`) : [],
    ]),
  );
}

function binMarker(at, of, kind, bin) {
  const text = `${of}, confidence ${percent(bin.confidence)}\u00a0%: accuracy ${percent(bin.accuracy)}\u00a0% of ${whole(bin.pixels)} pixels`;
  return svg("circle", { class: `dot ${kind}`, cx: at.x(bin.confidence), cy: at.y(bin.accuracy), r: 4 }, svg("title", {}, text));
}

/** Histogram of the mean IoU of the scenes. */
function sceneHistogram({ counts, median }) {
  const most = Math.max(1, ...counts);
  const at = axes({ x: [0, 1], y: [0, most] });
  const width = 1 / counts.length;
  const columns = counts.map((count, k) =>
    svg(
      "g",
      {},
      svg("title", {}, `${percent(k * width, 0)} to ${percent((k + 1) * width, 0)}\u00a0%: ${page.plural(count, "scene")}`),
      svg("rect", { class: "column", x: at.x(k * width) + 1, width: at.x(width) - at.x(0) - 2, y: at.y(count), height: at.bottom - at.y(count) }),
    ),
  );
  const ticks = [0, 0.5, 1].map((part) => Math.round(part * most)).filter((v, k, all) => all.indexOf(v) === k);
  return chart(
    "spread",
    "Scores of scenes",
    `Scenes by mean IoU; the median is ${percent(median)}\u00a0%.`,
    ["From, %", "To, %", "Scenes"],
    counts.map((count, k) => [percent(k * width, 0), percent((k + 1) * width, 0), whole(count)]),
    drawAxes(at, { xs: shareTicks, ys: ticks.map((v) => [v, whole(v)]), xTitle: "mean IoU of the scene, %", yTitle: "scenes" }),
    columns,
    known(median) ? svg("line", { class: "ideal", x1: at.x(median), x2: at.x(median), y1: at.top, y2: at.bottom }) : [],
  );
}

/** Training loss and validation mIoU over the steps. */
function learning(lines) {
  const steps = lines.map((line) => line.step);
  const x = [Math.min(...steps), Math.max(...steps)];
  const losses = lines.filter((line) => known(line.loss));
  const scored = lines.filter((line) => known(line.miou));
  const upper = axes({ x, y: [0, Math.max(...losses.map((l) => l.loss), 1e-9)], top: 22, bottom: 122 });
  const lower = axes({ x, y: [0, Math.max(...scored.map((l) => l.miou), 0.01)], top: 158 });
  const ends = ({ top, bottom, y }, most, show) => drawAxes({ top, bottom, y, x: upper.x }, { ys: [[0, "0"], [most, show(most)]] });
  return chart(
    "learning",
    "Learning curves",
    "Training loss, and mean IoU of the validation windows, by step.",
    ["Step", "Loss", "mIoU, %"],
    lines.map((line) => [whole(line.step), known(line.loss) ? line.loss.toFixed(4) : NONE, percent(line.miou)]),
    drawAxes(upper, { yTitle: "loss" }),
    ends(upper, Math.max(...losses.map((l) => l.loss), 1e-9), (v) => v.toPrecision(2)),
    svg("path", { class: "line", d: path(losses.map((l) => [upper.x(l.step), upper.y(l.loss)])) }),
    drawAxes(lower, { xs: [...new Set(x)].map((v) => [v, short(v)]), yTitle: "validation mIoU, %", xTitle: "step" }),
    ends(lower, Math.max(...scored.map((l) => l.miou), 0.01), percent),
    svg("path", { class: "line", d: path(scored.map((l) => [lower.x(l.step), lower.y(l.miou)])) }),
    scored.map((l) => svg("circle", { class: "dot", cx: lower.x(l.step), cy: lower.y(l.miou), r: 3 })),
  );
}
