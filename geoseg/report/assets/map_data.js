"use strict";

// Decodes the polygons that packing.py packed: integer steps from the upper left corner, large polygons first.
const polygons = (() => {
  const { data } = page;

  function bytes(base64) {
    const text = atob(base64);
    const out = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
    return out;
  }

  const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };

  function array({ type, data, scale }) {
    const values = new TYPES[type](bytes(data).buffer);
    return scale ? Float32Array.from(values, (value) => value / scale) : values;
  }

  function counts(base64) {
    const packed = bytes(base64);
    const out = [];
    for (let i = 0; i < packed.length;) {
      let value = 0, factor = 1, byte;
      do { byte = packed[i++]; value += (byte & 127) * factor; factor *= 128; } while (byte > 127);
      out.push(value);
    }
    return out;
  }

  // [2, 3] -> [0, 2, 5]
  function offsets(lengths) {
    const out = new Uint32Array(lengths.length + 1);
    for (let i = 0; i < lengths.length; i++) out[i + 1] = out[i] + lengths[i];
    return out;
  }

  function places(base64, length) {
    const packed = bytes(base64);
    const out = new Int32Array(length);
    const last = [0, 0];
    for (let i = 0, k = 0; k < length; k++) {
      let value = 0, factor = 1, byte;
      do { byte = packed[i++]; value += (byte & 127) * factor; factor *= 128; } while (byte > 127);
      last[k & 1] += value % 2 ? -(value + 1) / 2 : value / 2;
      out[k] = last[k & 1];
    }
    return out;
  }

  const kind = array(data.kind);
  const count = kind.length;
  const rings = offsets(counts(data.outlines.rings));        // of polygon i: rings[i] to rings[i + 1]
  const vertices = offsets(counts(data.outlines.vertices));  // of ring r: vertices[r] to vertices[r + 1]
  const xy = places(data.outlines.steps, 2 * vertices[vertices.length - 1]);
  const box = new Int32Array(4 * count);                     // left, top, right, bottom
  for (let i = 0; i < count; i++) {
    let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
    for (let v = vertices[rings[i]]; v < vertices[rings[i + 1]]; v++) {
      left = Math.min(left, xy[2 * v]); right = Math.max(right, xy[2 * v]);
      top = Math.min(top, xy[2 * v + 1]); bottom = Math.max(bottom, xy[2 * v + 1]);
    }
    box.set([left, top, right, bottom], 4 * i);
  }

  const columns = data.columns.map((column) => ({ ...column, values: array(column), data: undefined }));
  // numeric columns by name
  const byName = new Map(columns.filter((column) => column.kind === "number").map((column) => [column.name, column.values]));
  const rank = data.rank ? array(data.rank) : byName.get("fid");  // order in the file
  data.outlines = data.columns = null;  // free the encoded text

  // True if a point lies in polygon i, outside its holes: a ray to the right crosses its rings an odd number of times
  function contains(i, x, y) {
    let inside = false;
    for (let r = rings[i]; r < rings[i + 1]; r++) {
      const first = vertices[r], end = vertices[r + 1];
      for (let v = first, w = end - 1; v < end; w = v++) {
        const above = xy[2 * v + 1] > y;
        if (above === xy[2 * w + 1] > y) continue;
        const along = (y - xy[2 * v + 1]) / (xy[2 * w + 1] - xy[2 * v + 1]);
        if (x < xy[2 * v] + along * (xy[2 * w] - xy[2 * v])) inside = !inside;
      }
    }
    return inside;
  }

  // Topmost polygon at a point, or a tiny one within `near`; -1: none. Scanning a hundred thousand boxes takes a
  // fraction of a millisecond, so there is no spatial index.
  function at(x, y, near, visible) {
    let small = -1, best = near;
    for (let i = count - 1; i >= 0; i--) {
      if (!visible[i]) continue;
      const b = 4 * i;
      const away = Math.max(box[b] - x, x - box[b + 2], box[b + 1] - y, y - box[b + 3]);
      if (away <= 0 && contains(i, x, y)) return i;
      const size = Math.max(box[b + 2] - box[b], box[b + 3] - box[b + 1]);
      if (size < 2 * near && away < best) { best = away; small = i; }
    }
    return small;
  }

  return { count, kind, rank, rings, vertices, xy, box, columns, byName, at };
})();
