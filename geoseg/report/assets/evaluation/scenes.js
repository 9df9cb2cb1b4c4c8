"use strict";

// Best, median and worst scenes: cards that show image, ground truth, prediction or errors, and a viewer.

const RANKS = { best: "Best", median: "Median", worst: "Worst" };
const LAYERS = [
  ["image", "Image"],
  ["reference", "Ground truth"],
  ["labels", "Prediction"],
  ["errors", "Errors"],
];
const ERRORS = [
  ["correct", "correct"],
  ["missed", "missed"],
  ["false-positive", "false positive"],
  ["wrong-class", "wrong class"],
];

let layer = "labels";

function scenes(evaluation, shown, rule) {
  byId("scenes").hidden = !shown.length;
  if (!shown.length) return;
  const choose = (value) => {
    layer = value;
    byId("scenes").dataset.layer = value;
  };
  byId("scenes").dataset.layer = layer;
  byId("scene-rule").textContent = rule;
  byId("scene-layers").replaceChildren(radios("layer", "Show", LAYERS, layer, choose), errorKey());
  byId("scene-cards").replaceChildren(
    ...Object.entries(RANKS)
      .map(([rank, title]) => [title, shown.filter((scene) => scene.rank === rank)])
      .filter(([, ofRank]) => ofRank.length)
      .map(([title, ofRank]) =>
        el(
          "div",
          { class: "rank" },
          el("h3", { text: title }),
          el("div", { class: "cards" }, ofRank.map((scene) => card(evaluation, scene, shown))),
        ),
      ),
  );
}

const errorKey = () =>
  el("p", { class: "key error-key" }, ERRORS.map(([kind, text]) => el("span", {}, el("i", { class: `swatch ${kind}`, "aria-hidden": "true" }), text)));

function card(evaluation, scene, shown) {
  const scores = evaluation.by_scene?.[scene.name] ?? {};
  return el(
    "figure",
    { class: "card" },
    el(
      "button",
      { type: "button", class: "stage", "aria-label": `Open ${scene.name}`, onclick: () => openViewer(evaluation, scene, shown), style: { "aspect-ratio": "1" } },
      stack(evaluation, scene),
    ),
    el("figcaption", {}, el("b", { text: scene.name }), el("span", { class: "score", text: `mIoU ${percent(scores.miou)}\u00a0%` })),
    classKey(evaluation, scores),
  );
}

/** Image and overlays on top of each other; `data-layer` of the section selects the visible one. */
function stack(evaluation, scene) {
  const overlays = { reference: scene.references[evaluation.truth], labels: scene.labels, errors: scene.errors[evaluation.truth] };
  const description = { image: "image", reference: `ground truth (${evaluation.truth})`, labels: "prediction", errors: "errors" };
  const picture = (kind, source) =>
    el(
      "span",
      { class: `layer ${kind}`, "data-title": LAYERS.find(([key]) => key === kind)[1] },
      el("img", { src: source, alt: `${scene.name}: ${description[kind]}`, width: scene.columns, height: scene.rows, draggable: "false" }),
    );
  return el(
    "span",
    { class: "sheet", style: { "aspect-ratio": `${scene.columns} / ${scene.rows}`, "--ratio": scene.columns / scene.rows } },
    picture("image", scene.image),
    Object.entries(overlays).filter(([, source]) => source).map(([kind, source]) => picture(kind, source)),
  );
}

/** Classes of a scene in their colours, each with its IoU in the scene. */
function classKey(evaluation, { classes = {} }) {
  const colour = palette(evaluation.legend);
  const background = evaluation.legend[0].name;
  const there = Object.entries(classes).filter(([name, iou]) => name !== background && known(iou));
  return el(
    "ul",
    { class: "key" },
    there.sort(([, a], [, b]) => b - a).map(([name, iou]) => el("li", {}, swatch(colour(name)), `${name} `, el("span", { class: "muted", text: percent(iou, 0) }))),
  );
}

/** Dialog with one scene that can be zoomed; the browser traps the focus and closes it on Escape. */
function openViewer(evaluation, first, shown) {
  const dialog = byId("viewer");
  const fill = (scene) => {
    const place = shown.indexOf(scene);
    const sheet = stack(evaluation, scene);
    const stage = el("div", { class: "stage", tabindex: "0", role: "group", "aria-label": `${scene.name}: plus and minus zoom, arrow keys move, 0 fits the scene` }, sheet);
    const { zoom, reset } = zoomable(stage, sheet);
    const button = (text, label, press, more = {}) => el("button", { type: "button", "aria-label": label, title: label, onclick: press, text, ...more });
    const step = (by) => button(by < 0 ? "‹" : "›", by < 0 ? "Previous scene" : "Next scene", () => fill(shown[place + by]), { disabled: !shown[place + by] });
    const choose = (value) => {
      layer = value;
      dialog.dataset.layer = byId("scenes").dataset.layer = value;
      byId("scene-layers").querySelector(`input[value="${value}"]`).checked = true;
    };
    const opacity = el("input", { type: "range", min: "10", max: "100", value: dialog.dataset.opacity ?? "70", oninput: () => cover() });
    const cover = () => {
      dialog.dataset.opacity = opacity.value;
      dialog.style.setProperty("--cover", opacity.value / 100);
    };
    cover();
    dialog.dataset.layer = layer;
    dialog.replaceChildren(
      el(
        "header",
        {},
        el("h2", { id: "viewer-title", text: scene.name }),
        el("p", { class: "muted", text: `${RANKS[scene.rank]} · mIoU ${percent(evaluation.by_scene?.[scene.name]?.miou)}\u00a0% · ${whole(scene.width)} × ${whole(scene.height)} pixels` }),
        button("×", "Close", () => dialog.close(), { class: "close" }),
      ),
      stage,
      el(
        "footer",
        {},
        radios("viewer-layer", "Show", LAYERS, layer, choose),
        el("label", { class: "cover" }, "Opacity", opacity),
        el("div", { class: "buttons" }, step(-1), step(1), button("−", "Zoom out", () => zoom(1 / 1.5)), button("+", "Zoom in", () => zoom(1.5)), button("Fit", "Fit to window", reset)),
        el("div", { class: "keys" }, classKey(evaluation, evaluation.by_scene?.[scene.name] ?? {}), errorKey()),
      ),
    );
    stage.focus();
  };
  dialog.showModal();
  fill(first);
}
