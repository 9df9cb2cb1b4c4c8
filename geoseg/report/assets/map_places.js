"use strict";

// Coordinates under the pointer, in the CRS of the scene and in degrees, and the scale bar.
const places = (() => {
  const { byId } = page;
  const { ground } = page.data;
  const { degrees } = ground;

  // longitude and latitude, interpolated between the four nodes around a place
  function lonLat(u, v) {
    if (!degrees) return null;
    const last = degrees.nodes - 1;
    const x = Math.min(Math.max(u / (ground.width || 1), 0), 1) * last;
    const y = Math.min(Math.max(v / (ground.height || 1), 0), 1) * last;
    const column = Math.min(Math.floor(x), last - 1), row = Math.min(Math.floor(y), last - 1);
    const [right, down] = [x - column, y - row];
    return [degrees.lon, degrees.lat].map((values) => {
      const at = row * degrees.nodes + column, below = at + degrees.nodes;
      return (values[at] * (1 - right) + values[at + 1] * right) * (1 - down)
        + (values[below] * (1 - right) + values[below + 1] * right) * down;
    });
  }

  // decimals that resolve a pixel of the screen
  const decimals = (size) => Math.min(Math.max(Math.ceil(-Math.log10(size)), 0), 8);

  function formatMap(u, v) {
    if (ground.pixels) return `column ${Math.floor(ground.left + u * ground.stepX)}, row ${Math.floor(v * ground.stepY - ground.top)}`;
    const digits = decimals(ground.stepX / map.view.scale);
    return `${(ground.left + u * ground.stepX).toFixed(digits)}, ${(ground.top - v * ground.stepY).toFixed(digits)}`;
  }

  function formatDegrees(u, v) {
    const place = lonLat(u, v);
    if (!place) return null;
    const metre = ground.metres ? ground.metres / map.view.scale : 1;
    const digits = decimals(metre / 111320);
    const [lon, lat] = place;
    return `${Math.abs(lat).toFixed(digits)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(digits)}° ${lon < 0 ? "W" : "E"}`;
  }

  // degrees where known, else coordinates of the scene
  const format = (u, v) => formatDegrees(u, v) || formatMap(u, v);

  let pointer = null;
  function showPlace() {
    const [u, v] = map.place(...(pointer || [map.size[0] / 2, map.size[1] / 2]));
    const lines = [ground.geographic && degrees ? null : formatMap(u, v), formatDegrees(u, v)];
    byId("place").textContent = lines.filter(Boolean).join("\n");
  }

  // {pixels, text} of a round length of at most 130 pixels; null if the pixel size is unknown
  function roundLength() {
    const unit = ground.metres || (ground.pixel && 1 / ground.pixel);
    if (!unit) return null;
    const longest = 130 * unit / map.view.scale;
    const power = 10 ** Math.floor(Math.log10(longest));
    const long = Number(([5, 2, 1].find((step) => step * power <= longest) * power).toPrecision(1));
    const text = !ground.metres ? `${long} px` : long >= 1000 ? `${long / 1000} km`
      : long < 1 ? `${Number((long * 100).toPrecision(1))} cm` : `${long} m`;
    return { pixels: long / unit * map.view.scale, text };
  }

  function showScale() {
    const scale = roundLength();
    byId("scale").hidden = !scale;
    if (!scale) return;
    byId("scale").style.width = `${scale.pixels}px`;
    byId("scale").firstElementChild.textContent = scale.text;
  }

  map.onPaper.push((context, width, height) => {
    const scale = roundLength();
    if (!scale) return;
    context.fillStyle = "#fff";
    context.fillRect(8, height - 34, scale.pixels + 16, 26);
    context.fillStyle = "#000";
    context.fillRect(16, height - 14, scale.pixels, 2);
    context.font = "13px sans-serif";
    context.textAlign = "center";
    context.fillText(scale.text, 16 + scale.pixels / 2, height - 18);
  });

  map.listeners.push(() => { showPlace(); showScale(); });
  input.point = (x, y) => { pointer = x === null ? null : [x, y]; showPlace(); };

  return { format };
})();
