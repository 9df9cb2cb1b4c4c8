"use strict";

// What is around the map: buttons, keys, notes, the drawer of a phone, paper.
(() => {
  const { make, byId, data } = page;
  const root = document.querySelector(".map-page"), drawer = byId("drawer");

  const notes = [...data.notes];
  notes.unshift(data.ground.crs ? `Coordinates are those of ${data.ground.crs}.`
    : "Where on the ground this is, is not known: there is no coordinate reference system.");
  byId("notes").lastElementChild.append(...notes.map((note) => make("li", {}, note)));

  byId("closer").addEventListener("click", () => map.zoomBy(1.5));
  byId("farther").addEventListener("click", () => map.zoomBy(1 / 1.5));
  byId("fit").addEventListener("click", map.home);

  function open(on) {
    root.classList.toggle("open", on);
    drawer.setAttribute("aria-expanded", String(on));
  }
  drawer.addEventListener("click", () => open(!root.classList.contains("open")));

  hands.click = (x, y, by) => {
    open(false);
    const near = (by === "touch" ? 14 : 6) / map.look.scale;
    details.choose(polygons.at(...map.place(x, y), near, map.visible));
  };

  const LETTERS = { n: () => details.step(1), p: () => details.step(-1), z: details.near };
  const KEYS = {
    Escape: () => { if (details.chosen >= 0) details.close(); else if (root.classList.contains("open")) { open(false); drawer.focus(); } },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // letters only on the map and its card: who speaks to the browser types letters everywhere
    const letters = event.target.closest("#main") && !event.target.matches("select");
    const act = KEYS[event.key] || (letters && LETTERS[event.key.toLowerCase()]);
    if (!act) return;
    event.preventDefault();
    act();
  });

  new ResizeObserver(map.resize).observe(map.canvas);
  map.resize();
  window.addEventListener("beforeprint", map.print);
  window.addEventListener("afterprint", map.printed);
})();
