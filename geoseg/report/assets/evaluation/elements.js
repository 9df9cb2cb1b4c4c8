"use strict";

// What everything else is built of. Text goes in as text, never as markup, so a class may be called anything.

const { byId, number: whole } = page;

/** An HTML element, by `page.make`; `text` is its text, `style` its properties, children may come in lists. */
function el(tag, { style = {}, text, ...attributes } = {}, ...children) {
  const node = page.make(tag, attributes, text, ...children.flat());
  for (const [name, value] of Object.entries(style)) node.style.setProperty(name, value);
  return node;
}

/** The same for SVG. */
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.flat());
  return node;
}

const known = (value) => typeof value === "number" && Number.isFinite(value);

const NONE = "–";
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** 0.318 → 31.8 */
const percent = (value, digits = 1) => (known(value) ? (100 * value).toFixed(digits) : NONE);
const short = (value) => (known(value) ? SHORT.format(value) : NONE);
const range = (interval) =>
  interval && interval.every(known) ? `${percent(interval[0])}–${percent(interval[1])}` : "";

/** A shade of an image's or a mark's meaning, before its name. */
const swatch = (colour) => el("span", { class: "swatch", "aria-hidden": "true", style: { background: colour } });

/** A row of radio buttons; `choose` gets the value, `options` are [value, text]. */
function radios(name, legend, options, chosen, choose) {
  return el(
    "fieldset",
    { class: "segmented" },
    el("legend", { text: legend }),
    options.map(([value, text]) =>
      el(
        "label",
        {},
        el("input", {
          type: "radio",
          name,
          value,
          checked: value === chosen,
          onchange: () => choose(value),
        }),
        el("span", { text }),
      ),
    ),
  );
}

/** Names and colours by class; a class that the legend lacks is grey. */
function palette(legend) {
  const colours = new Map(legend.map((c) => [c.name, c.colour]));
  return (name) => colours.get(name) ?? "#888888";
}
