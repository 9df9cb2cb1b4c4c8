"use strict";

// Mouse, touch and keyboard input of the map. Other scripts set `input.click` and `input.point`.
const input = (() => {
  const { canvas } = map;
  const CLICK = 6;    // a movement of fewer pixels is a click
  const STEP = 80;    // pixels per arrow key
  const down = new Map();
  const handlers = { click() {}, point() {} };
  let moved = 0, pressed = false;

  const at = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };

  function grip() {
    const points = [...down.values()];
    const [x, y] = [0, 1].map((k) => points.reduce((sum, point) => sum + point[k], 0) / points.length);
    const spread = points.length > 1 ? Math.hypot(points[0][0] - points[1][0], points[0][1] - points[1][1]) : 0;
    return { x, y, spread };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    if (!down.size) { moved = 0; pressed = true; }
    else pressed = false;  // two fingers never select
    down.set(event.pointerId, at(event));
    map.cross = false;
  });

  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (!down.has(event.pointerId)) { handlers.point(x, y); return; }
    const before = grip();
    down.set(event.pointerId, [x, y]);
    const now = grip();
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (moved < CLICK && down.size === 1) return;
    map.moveBy(now.x - before.x, now.y - before.y);
    if (before.spread && now.spread) map.zoomBy(now.spread / before.spread, now.x, now.y);
  });

  function up(event) {
    if (!down.delete(event.pointerId)) return;
    if (pressed && moved < CLICK && event.type === "pointerup") handlers.click(...at(event), event.pointerType);
    pressed = pressed && down.size > 0;
  }
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => handlers.point(null, null));
  canvas.addEventListener("dblclick", (event) => map.zoomBy(2, ...at(event)));

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    const turn = Math.max(-240, Math.min(240, event.deltaY * lines));
    map.zoomBy(Math.exp(-turn * (event.ctrlKey ? 0.01 : 0.002)), ...at(event));
  }, { passive: false });

  const KEYS = {
    ArrowLeft: () => map.moveBy(STEP, 0),
    ArrowRight: () => map.moveBy(-STEP, 0),
    ArrowUp: () => map.moveBy(0, STEP),
    ArrowDown: () => map.moveBy(0, -STEP),
    "+": () => map.zoomBy(1.5),
    "=": () => map.zoomBy(1.5),
    "-": () => map.zoomBy(1 / 1.5),
    "0": () => map.home(),
    Enter: () => handlers.click(map.size[0] / 2, map.size[1] / 2, "keyboard"),
    " ": () => handlers.click(map.size[0] / 2, map.size[1] / 2, "keyboard"),
  };

  canvas.addEventListener("keydown", (event) => {
    const act = !event.ctrlKey && !event.metaKey && !event.altKey && KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    map.cross = true;
    act();
  });
  canvas.addEventListener("focus", () => { map.cross = canvas.matches(":focus-visible"); });
  canvas.addEventListener("blur", () => { map.cross = false; });

  return handlers;
})();
