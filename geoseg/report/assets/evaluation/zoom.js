"use strict";

// Zooming and panning of an image: wheel, keys, one finger to pan, two to zoom.

const MAX_ZOOM = 24;

/** Make `sheet` zoom and pan inside `stage`; return the functions that buttons call. */
function zoomable(stage, sheet) {
  let [x, y, size] = [0, 0, 1];
  const fingers = new Map();

  function show() {
    const most = (length) => (length * (size - 1)) / 2; // the image always covers the centre
    x = Math.min(most(stage.clientWidth), Math.max(-most(stage.clientWidth), x));
    y = Math.min(most(stage.clientHeight), Math.max(-most(stage.clientHeight), y));
    sheet.style.transform = `translate(${x}px, ${y}px) scale(${size})`;
    stage.classList.toggle("magnified", size > 3);
    stage.dataset.zoom = size.toFixed(2);
  }

  /** Zoom around (cx, cy) of the window, or around the centre. */
  function zoom(factor, cx, cy) {
    const box = stage.getBoundingClientRect();
    const [px, py] = [cx === undefined ? 0 : cx - box.left - box.width / 2, cy === undefined ? 0 : cy - box.top - box.height / 2];
    const next = Math.min(MAX_ZOOM, Math.max(1, size * factor));
    x = px - ((px - x) * next) / size;
    y = py - ((py - y) * next) / size;
    size = next;
    show();
  }

  function move(dx, dy) {
    x += dx;
    y += dy;
    show();
  }

  function reset() {
    [x, y, size] = [0, 0, 1];
    show();
  }

  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), event.clientX, event.clientY);
    },
    { passive: false },
  );
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stage.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
  });
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)?.[1];
    fingers.set(event.pointerId, event);
    if (!other) {
      move(event.clientX - before.clientX, event.clientY - before.clientY);
      return;
    }
    const apart = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY) || 1;
    move((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
    zoom(apart(event) / apart(before), (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => fingers.delete(event.pointerId));
  stage.addEventListener("dblclick", (event) => zoom(2, event.clientX, event.clientY));
  stage.addEventListener("keydown", (event) => {
    const step = 60;
    const keys = {
      "+": () => zoom(1.5),
      "=": () => zoom(1.5),
      "-": () => zoom(1 / 1.5),
      0: reset,
      ArrowLeft: () => move(step, 0),
      ArrowRight: () => move(-step, 0),
      ArrowUp: () => move(0, step),
      ArrowDown: () => move(0, -step),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  return { zoom, reset };
}
