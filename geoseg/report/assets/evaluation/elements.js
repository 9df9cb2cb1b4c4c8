"use strict";

// Building blocks of the page. Text is inserted as text, never as markup, so any class name is safe.

const { byId, number: whole } = page;

/** Create an HTML element with `page.make`; `text` is its text, `style` its CSS properties; children may be nested lists. */
function el(tag, { style = {}, text, ...attributes } = {}, ...children) {
  const node = page.make(tag, attributes, text, ...children.flat());
  for (const [name, value] of Object.entries(style)) node.style.setProperty(name, value);
  return node;
}

/** Create an SVG element. */
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

/** Colour sample before the name of a class. */
const swatch = (colour) => el("span", { class: "swatch", "aria-hidden": "true", style: { background: colour } });

/** Row of radio buttons; `options` are [value, text], `choose` is called with the value. */
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

/** Colour by class name; grey for classes that the legend lacks. */
function palette(legend) {
  const colours = new Map(legend.map((c) => [c.name, c.colour]));
  return (name) => colours.get(name) ?? "#888888";
}
