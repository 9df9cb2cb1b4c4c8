"use strict";

// The map on its canvas: view, drawing, panning and zooming.
const map = (() => {
  const { ground, picture, kinds } = page.data;
  const { count, kind, rings, vertices, xy, box } = polygons;
  const canvas = page.byId("map");
  const context = canvas.getContext("2d");
  const visible = new Uint8Array(count).fill(1);
  const view = { x: 0, y: 0, scale: 1 };  // centre in steps; screen pixels per step
  const listeners = [];
  const onPaper = [];
  const SLICE = 10;                        // milliseconds of drawing per frame
  const AROUND = 0.2;                      // share of the canvas drawn beyond each side
  const closest = ground.pixel ? 48 / ground.pixel : 8;

  let width = 1, height = 1, ratio = 1, selected = -1, frame = 0, cross = false, kept = null;
  let drawn = null;                        // layer on the screen: {canvas, view, width, height}
  let spare = null;                        // unused canvas
  let work = null;                         // layer in progress
  let stale = true;

  const image = picture && new Image();
  if (image) {
    image.onload = () => draw(false);
    image.src = picture.href;
    page.data.picture = null;
  }

  // ---- colours

  const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const colours = kinds.map(({ colour }) => {
    const [r, g, b] = rgb(colour);
    const dark = 0.299 * r + 0.587 * g + 0.114 * b < 90;
    return {
      fill: `rgba(${r},${g},${b},0.28)`,
      dot: `rgba(${r},${g},${b},0.95)`,
      line: colour,
      halo: dark ? "rgba(255,255,255,0.75)" : "rgba(0,0,0,0.6)",
    };
  });

  // ---- drawing

  function draw(changed = true) {
    stale = stale || changed;
    if (!frame) frame = requestAnimationFrame(paint);
  }

  function paint() {
    frame = 0;
    if (stale && !work) { work = begin(); stale = false; }
    if (work && advance(work, performance.now() + SLICE)) finish();
    compose(context, ratio);
    if (work || stale) frame = requestAnimationFrame(paint);
    for (const listener of listeners) listener(view);
  }

  // show the finished layer; the canvas of the last one is reused
  function finish() {
    spare = drawn && drawn.canvas;
    drawn = work.layer;
    work = null;
  }

  function begin() {
    const layer = { view: { ...view }, width: width * (1 + 2 * AROUND), height: height * (1 + 2 * AROUND) };
    layer.canvas = spare || document.createElement("canvas");
    spare = null;
    layer.canvas.width = Math.round(layer.width * ratio);  // also clears it
    layer.canvas.height = Math.round(layer.height * ratio);
    const into = layer.canvas.getContext("2d");
    into.lineJoin = "round";
    const scale = view.scale * ratio;
    const left = view.x - layer.canvas.width / 2 / scale, top = view.y - layer.canvas.height / 2 / scale;
    return { layer, into, scale, left, top, right: left + layer.canvas.width / scale,
      bottom: top + layer.canvas.height / scale, next: 0, ended: false };
  }

  // draw until the time `until`; true when complete
  function advance(job, until) {
    for (; job.next < count; job.next++) {
      const i = job.next, b = 4 * i;
      if (!visible[i] || box[b] > job.right || box[b + 2] < job.left || box[b + 1] > job.bottom || box[b + 3] < job.top) continue;
      polygon(job, i);
      if ((i & 127) === 0 && performance.now() > until) { job.next++; return false; }
    }
    return true;
  }

  function polygon({ into, scale, left, top }, i) {
    const b = 4 * i, colour = colours[kind[i]];
    const wide = (box[b + 2] - box[b]) * scale, high = (box[b + 3] - box[b + 1]) * scale;
    const large = Math.max(wide, high);
    if (large < 4 * ratio) {  // a dot; an outline would blur it
      const least = 1.5 * ratio, w = Math.max(wide, least), h = Math.max(high, least);
      into.fillStyle = colour.dot;
      into.fillRect((box[b] - left) * scale + (wide - w) / 2, (box[b + 1] - top) * scale + (high - h) / 2, w, h);
      return;
    }
    trace(into, i, left, top, scale);
    into.fillStyle = colour.fill;
    into.fill("evenodd");
    if (large > 16 * ratio) {
      into.lineWidth = 3.2 * ratio;
      into.strokeStyle = colour.halo;
      into.stroke();
    }
    into.lineWidth = (large > 16 * ratio ? 1.8 : 1.2) * ratio;
    into.strokeStyle = colour.line;
    into.stroke();
  }

  // the outline as a path, without vertices on the same pixel
  function trace(into, i, left, top, scale) {
    into.beginPath();
    for (let r = rings[i]; r < rings[i + 1]; r++) {
      let lastX = NaN, lastY = NaN;
      for (let v = vertices[r]; v < vertices[r + 1]; v++) {
        const x = (xy[2 * v] - left) * scale, y = (xy[2 * v + 1] - top) * scale;
        if (v === vertices[r]) into.moveTo(x, y);
        else if (Math.abs(x - lastX) + Math.abs(y - lastY) > 0.8) into.lineTo(x, y);
        else continue;
        lastX = x; lastY = y;
      }
      into.closePath();
    }
  }

  // compose image, last drawn layer and selected polygon on a canvas
  function compose(into, dense) {
    into.setTransform(dense, 0, 0, dense, 0, 0);
    into.clearRect(0, 0, width, height);
    const left = view.x - width / 2 / view.scale, top = view.y - height / 2 / view.scale;
    if (image && image.complete) {
      const [a, b, c, d, e, f] = picture.place.map((value) => value * view.scale * dense);
      into.setTransform(a, b, c, d, e - left * view.scale * dense, f - top * view.scale * dense);
      into.imageSmoothingEnabled = Math.hypot(a, b) < 4;
      into.imageSmoothingQuality = "high";
      into.drawImage(image, 0, 0);
      into.imageSmoothingEnabled = true;
    }
    into.setTransform(dense, 0, 0, dense, 0, 0);
    const layer = drawn || (work && work.layer);
    if (layer) {
      const zoom = view.scale / layer.view.scale;
      const x = (layer.view.x - left) * view.scale - (layer.width / 2) * zoom;
      const y = (layer.view.y - top) * view.scale - (layer.height / 2) * zoom;
      if (zoom === 1) into.drawImage(layer.canvas, whole(x, dense), whole(y, dense), layer.canvas.width / dense, layer.canvas.height / dense);
      else into.drawImage(layer.canvas, x, y, layer.width * zoom, layer.height * zoom);
    }
    if (selected >= 0) mark(into, left, top);
    if (cross) {
      for (const [style, line] of [["#fff", 5], ["#000", 2]]) {
        into.beginPath();
        into.moveTo(width / 2 - 10, height / 2); into.lineTo(width / 2 + 10, height / 2);
        into.moveTo(width / 2, height / 2 - 10); into.lineTo(width / 2, height / 2 + 10);
        into.strokeStyle = style; into.lineWidth = line; into.stroke();
      }
    }
  }

  // align with screen pixels, which are then copied without blending
  const whole = (value, dense) => Math.round(value * dense) / dense;

  function mark(into, left, top) {
    const b = 4 * selected;
    const large = Math.max(box[b + 2] - box[b], box[b + 3] - box[b + 1]) * view.scale;
    if (large < 10) {  // a ring around a tiny polygon
      into.beginPath();
      into.arc(((box[b] + box[b + 2]) / 2 - left) * view.scale, ((box[b + 1] + box[b + 3]) / 2 - top) * view.scale, 9, 0, 7);
    } else trace(into, selected, left, top, view.scale);
    for (const [style, line] of [["#000", 6], ["#fff", 4], [colours[kind[selected]].line, 1.5]]) {
      into.strokeStyle = style;
      into.lineWidth = line;
      into.stroke();
    }
  }

  // ---- view

  function clampView() {
    const fit = Math.min(width / (ground.width || 1), height / (ground.height || 1));
    view.scale = Math.min(Math.max(view.scale, fit / 4), Math.max(closest, fit));
    view.x = Math.min(Math.max(view.x, 0), ground.width);
    view.y = Math.min(Math.max(view.y, 0), ground.height);
  }

  function show(left, top, right, bottom, share = 0.96) {
    view.x = (left + right) / 2;
    view.y = (top + bottom) / 2;
    view.scale = share * Math.min(width / Math.max(right - left, 1), height / Math.max(bottom - top, 1));
    clampView();
    draw();
  }

  const home = () => show(...ground.home);

  function moveBy(x, y) {
    view.x -= x / view.scale;
    view.y -= y / view.scale;
    clampView();
    draw();
  }

  // zoom around (x, y) of the canvas
  function zoomBy(factor, x = width / 2, y = height / 2) {
    const [u, v] = place(x, y);
    view.scale *= factor;
    clampView();
    view.x = u - (x - width / 2) / view.scale;
    view.y = v - (y - height / 2) / view.scale;
    clampView();
    draw();
  }

  const place = (x, y) => [view.x + (x - width / 2) / view.scale, view.y + (y - height / 2) / view.scale];

  // pan to polygon i, outside the area that the card covers; `near`: also zoom to it
  function reveal(i, covered, near = false) {
    const [left, top, right, bottom] = box.subarray(4 * i, 4 * i + 4);
    const [w, h] = [width - covered.left, height - covered.bottom];
    if (near) {
      view.scale = 0.35 * Math.min(w / Math.max(right - left, 1), h / Math.max(bottom - top, 1));
      clampView();
      view.x = (left + right) / 2 - covered.left / 2 / view.scale;
      view.y = (top + bottom) / 2 + covered.bottom / 2 / view.scale;
    } else if (right - left < w / view.scale && bottom - top < h / view.scale) {  // pan no farther than needed
      const edge = 24 / view.scale;
      const [l, t] = place(covered.left, 0), [r, b] = place(width, h);
      view.x += Math.min(left - edge - l, 0) || Math.max(right + edge - r, 0);
      view.y += Math.min(top - edge - t, 0) || Math.max(bottom + edge - b, 0);
    }
    draw();
  }

  // true if polygon i is large enough to see and fits on the screen
  function isLegible(i) {
    const large = Math.max(box[4 * i + 2] - box[4 * i], box[4 * i + 3] - box[4 * i + 1]) * view.scale;
    return large > 14 && large < Math.min(width, height);
  }

  function select(i) { selected = i; draw(false); }

  function resize() {
    const { clientWidth, clientHeight } = canvas;
    if (kept || !clientWidth || !clientHeight || (clientWidth === width && clientHeight === height)) return;
    const first = width === 1;
    width = clientWidth;
    height = clientHeight;
    ratio = density();
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    drawn = work = null;
    if (first) home(); else draw();
  }

  // draw the visible part of the extent at once, at twice the density
  function print() {
    kept = { width, height, ...view };
    const [l, t] = place(0, 0), [r, b] = place(width, height);
    const [left, top] = [Math.max(l, 0), Math.max(t, 0)];
    const [right, bottom] = [Math.min(r, ground.width), Math.min(b, ground.height)];
    width = Math.max((right - left) * view.scale, 1);
    height = Math.max((bottom - top) * view.scale, 1);
    view.x = (left + right) / 2;
    view.y = (top + bottom) / 2;
    settle(2);
    for (const draws of onPaper) draws(context, width, height);
  }

  function endPrint() {
    if (!kept) return;
    ({ width, height } = kept);
    Object.assign(view, { x: kept.x, y: kept.y, scale: kept.scale });
    kept = null;
    settle(density());
  }

  function settle(dense) {
    ratio = dense;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    cancelAnimationFrame(frame);
    frame = 0;
    work = begin();
    advance(work, Infinity);
    finish();
    stale = false;
    compose(context, ratio);
  }

  const density = () => Math.min(window.devicePixelRatio || 1, 2);

  return {
    canvas, view, visible, picturePlace: picture && picture.place, draw, home, moveBy, zoomBy, place, reveal, select, resize, listeners,
    print, endPrint, onPaper, isLegible,
    get size() { return [width, height]; },
    get bounds() { return [...place(0, 0), ...place(width, height)]; },
    get busy() { return Boolean(frame); },
    set cross(on) { if (cross !== on) { cross = on; draw(false); } },
  };
})();
