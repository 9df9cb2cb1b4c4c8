"use strict";

// Controls around the map: buttons, keyboard shortcuts, notes, the drawer on small screens, printing.
(() => {
  const { make, byId, data } = page;
  const root = document.querySelector(".map-page"), drawer = byId("drawer");

  const notes = [...data.notes];
  notes.unshift(data.ground.crs ? `Coordinate reference system: ${data.ground.crs}.`
    : "The location is unknown: there is no coordinate reference system.");
  byId("notes").lastElementChild.append(...notes.map((note) => make("li", {}, note)));

  byId("zoom-in").addEventListener("click", () => map.zoomBy(1.5));
  byId("zoom-out").addEventListener("click", () => map.zoomBy(1 / 1.5));
  byId("fit").addEventListener("click", map.home);

  function open(on) {
    root.classList.toggle("open", on);
    drawer.setAttribute("aria-expanded", String(on));
  }
  drawer.addEventListener("click", () => open(!root.classList.contains("open")));

  input.click = (x, y, by) => {
    open(false);
    const near = (by === "touch" ? 14 : 6) / map.view.scale;
    details.select(polygons.at(...map.place(x, y), near, map.visible));
  };

  const LETTERS = { n: () => details.step(1), p: () => details.step(-1), z: details.zoomTo };
  const KEYS = {
    Escape: () => { if (details.selected >= 0) details.close(); else if (root.classList.contains("open")) { open(false); drawer.focus(); } },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // letters only on the map and its card: speech input types letters anywhere
    const letters = event.target.closest("#main") && !event.target.matches("select");
    const act = KEYS[event.key] || (letters && LETTERS[event.key.toLowerCase()]);
    if (!act) return;
    event.preventDefault();
    act();
  });

  new ResizeObserver(map.resize).observe(map.canvas);
  map.resize();
  window.addEventListener("beforeprint", map.print);
  window.addEventListener("afterprint", map.endPrint);
})();
