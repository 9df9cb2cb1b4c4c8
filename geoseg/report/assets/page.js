"use strict";

// Helpers of all pages. Elements are created by `make`, never by parsing text as HTML.
const page = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  // make("button", { type: "button", onclick: go, "aria-label": "Go" }, "Go") -> element
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || value === false) continue;
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  const byId = (id) => document.getElementById(id);

  // 12345.678 -> "12,345.7"; missing -> an en dash
  function number(value, decimals = 0) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    return value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  }

  const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

  return { data, make, byId, number, plural };
})();
