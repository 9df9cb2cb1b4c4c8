"use strict";

// Tables that are sorted by clicking a column heading, or with Tab and Enter.

/**
 * `columns` are {key, title, help, of(row), cell(row)}, and {wide} or {mark}: a class of the heading; the first is the row header. Missing values stay last in both
 * directions. `order` ({key, down}) keeps the sorting when the page is built again.
 */
function sortable(caption, columns, rows, order) {
  const body = el("tbody");
  const status = el("p", { class: "visually-hidden", role: "status" });
  const heads = columns.map((column, place) => {
    const press = () => {
      order.down = order.key === column.key ? !order.down : place > 0;
      order.key = column.key;
      fill();
      status.textContent = `sorted by ${column.title.replace("\n", " ")}, ${order.down ? "largest first" : "smallest first"}`;
    };
    const title = el("button", { type: "button", onclick: press, title: column.help, text: column.title });
    return el("th", { scope: "col", class: column.wide ? "wide" : column.mark ? `kind-head ${column.mark}` : undefined }, title);
  });

  function fill() {
    const { of } = columns.find((column) => column.key === order.key) ?? columns[0];
    const sorted = [...rows].sort((a, b) => compared(of(a), of(b), order.down));
    body.replaceChildren(
      ...sorted.map((row) =>
        el(
          "tr",
          {},
          columns.map((column, place) =>
            el(place ? "td" : "th", place ? { class: column.wide ? "wide" : "number" } : { scope: "row" }, column.cell(row)),
          ),
        ),
      ),
    );
    heads.forEach((head, place) => {
      const chosen = columns[place].key === order.key;
      head.setAttribute("aria-sort", chosen ? (order.down ? "descending" : "ascending") : "none");
    });
  }

  fill();
  return el(
    "div",
    {},
    scrolled(caption, el("table", { class: "sortable" }, el("caption", { class: "visually-hidden", text: caption }), el("thead", {}, el("tr", {}, heads)), body)),
    status,
  );
}

/** Wrap a wide element in a box that scrolls, also by keyboard. */
const scrolled = (label, wide) => el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, wide);

function compared(a, b, down) {
  const [missingA, missingB] = [a, b].map((value) => value === null || value === undefined);
  if (missingA || missingB) return missingA - missingB;
  const rising = typeof a === "string" ? a.localeCompare(b) : a - b;
  return down ? -rising : rising;
}

/** Share as a bar in the colour of a class, with number and interval. */
function bar(share, colour, interval) {
  const width = known(share) ? share : 0;
  const [low, high] = interval?.every(known) ? interval : [];
  return el(
    "span",
    { class: "bar", title: interval ? range(interval) : undefined },
    el("span", { class: "number", text: percent(share) }),
    el(
      "span",
      { class: "track", "aria-hidden": "true" },
      el("i", { class: "fill", style: { width: `${100 * width}%`, background: colour } }),
      known(low) ? el("i", { class: "whisker", style: { left: `${100 * low}%`, width: `${100 * (high - low)}%` } }) : null,
    ),
  );
}

const numbers = (key, title, help, of, show = percent) => ({
  key,
  title,
  help,
  of: (row) => of(row) ?? null,
  cell: (row) => show(of(row)),
});

const named = (title, colour) => ({
  key: "name",
  title,
  of: (row) => row.name,
  cell: (row) => el("span", { class: "named" }, swatch(colour(row.name)), row.name),
});

const barred = (key, title, help, of, colour, interval = () => undefined) => ({
  key,
  title,
  help,
  wide: true,
  of: (row) => of(row) ?? null,
  cell: (row) => bar(of(row), colour(row.name), interval(row)),
});
