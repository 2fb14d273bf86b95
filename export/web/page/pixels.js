// Cuts pictures out of a photo as Pillow does, so that the networks see what they see in Python: `view` of
// tf_deep3d/detection/networks.py, quick, and `sample` of tf_deep3d/detection/resampling.py, fine.
//
// A photo is { width, height, data }, data RGBA bytes as of a canvas, opaque. Cut pictures are Float32Array [S, S, 3] of
// RGB in [0, 1]. Transforms go from photo px to px of the cut picture.

import { apply, inverse, matrixOf } from "./similarity.js";

const SPLINE_POLE = Math.sqrt(3) - 2;  // of the filter that turns pixels into weights of cubic B-splines
const SPLINE_REACH = 16;  // px after which that filter has died down
const REDUCING_GAP = 3;  // a resize shrinks by whole pixels first where this many are left for each pixel

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const asByte = (value) => clamp(Math.round(value), 0, 255);

// What a network sees: box means over whole pixels, then bilinear samples. Outside the photo it is black, or `edge`
// repeats its last pixels.
export function view(photo, transform, size, edge = false) {
  const back = inverse(transform);
  const { low, high } = surroundings(photo, back, size, 2 * Math.max(back.scale, 1) + 1);
  const step = Math.max(Math.min(Math.trunc(back.scale), high[0] - low[0], high[1] - low[1]), 1);
  const part = reduce(photo, [low[0], low[1], high[0], high[1]], step, step);
  const [a, b, c, d, e, f] = matrixOf(back);
  const [da, db, dc] = [a / step, b / step, (c - low[0]) / step];
  const [dd, de, df] = [d / step, e / step, (f - low[1]) / step];
  const seen = new Float32Array(size * size * 3);
  for (let row = 0, at = 0; row < size; row++) {
    for (let column = 0; column < size; column++, at += 3) {
      const x = da * (column + 0.5) + db * (row + 0.5) + dc, y = dd * (column + 0.5) + de * (row + 0.5) + df;
      if (edge || (x >= 0 && y >= 0 && x < part.width && y < part.height)) bilinear(part, x - 0.5, y - 0.5, seen, at);
    }
  }
  return seen;
}

function bilinear({ width, height, data }, x, y, out, at) {
  const left = Math.floor(x), top = Math.floor(y);
  const right = x - left, down = y - top;
  const x0 = clamp(left, 0, width - 1) * 4, x1 = clamp(left + 1, 0, width - 1) * 4;
  const y0 = clamp(top, 0, height - 1) * width * 4, y1 = clamp(top + 1, 0, height - 1) * width * 4;
  for (let k = 0; k < 3; k++) {
    const above = data[y0 + x0 + k] * (1 - right) + data[y0 + x1 + k] * right;
    const below = data[y1 + x0 + k] * (1 - right) + data[y1 + x1 + k] * right;
    out[at + k] = Math.trunc(above + (below - above) * down) / 255;
  }
}

// The part of the photo that a square of `size` px shows, with `reach` px around it: low [x, y], high [x, y].
function surroundings(photo, back, size, reach) {
  const corners = [[0, 0], [size, 0], [0, size], [size, size]].map((corner) => apply(back, corner));
  const extent = [photo.width, photo.height];
  const low = [0, 1].map((k) => clamp(Math.floor(Math.min(...corners.map((p) => p[k])) - reach), 0, extent[k] - 1));
  const high = [0, 1].map((k) => clamp(Math.ceil(Math.max(...corners.map((p) => p[k])) + reach), low[k] + 1, extent[k]));
  return { corners, low, high };
}

// Means over boxes of `across` x `down` pixels of a box [x0, y0, x1, y1] of whole px; the last ones may be smaller.
export function reduce(photo, [x0, y0, x1, y1], across, down) {
  const width = Math.ceil((x1 - x0) / across), height = Math.ceil((y1 - y0) / down);
  const data = new Uint8ClampedArray(width * height * 4);
  if (across === 1 && down === 1) {
    for (let row = 0; row < height; row++) {
      const from = ((y0 + row) * photo.width + x0) * 4;
      data.set(photo.data.subarray(from, from + 4 * width), 4 * row * width);
    }
    return { width, height, data };
  }
  for (let row = 0, at = 0; row < height; row++) {
    const top = y0 + row * down, bottom = Math.min(top + down, y1);
    for (let column = 0; column < width; column++, at += 4) {
      const left = x0 + column * across, right = Math.min(left + across, x1);
      let red = 0, green = 0, blue = 0;
      for (let y = top; y < bottom; y++) {
        for (let from = (y * photo.width + left) * 4, end = from + (right - left) * 4; from < end; from += 4) {
          red += photo.data[from];
          green += photo.data[from + 1];
          blue += photo.data[from + 2];
        }
      }
      const count = (bottom - top) * (right - left);
      data[at] = asByte(red / count);
      data[at + 1] = asByte(green / count);
      data[at + 2] = asByte(blue / count);
    }
  }
  return { width, height, data };
}

// Cuts an antialiased square of `size` px: an upright one is one bicubic resize, a turned one is shrunk that way and then
// sampled by cubic splines. Black where the photo ends.
export function sample(photo, transform, size) {
  const back = inverse(transform), shrink = Math.max(back.scale, 1);
  const { low, high } = surroundings(photo, back, size, 2 * shrink + 2);
  const matrix = matrixOf(back);
  const span = insideOf(matrix, photo, size);
  if (!span) return new Float32Array(size * size * 3);
  const part = { photo, low, width: high[0] - low[0], height: high[1] - low[1] };
  matrix[2] -= low[0];
  matrix[5] -= low[1];
  if (back.rotation === 0 && shrink <= Math.min(part.width, part.height)) return upright(part, matrix, span, size);
  return turned(part, matrix, shrink, size, span.inside);
}

// Pixels of the crop whose centre lies in the photo: { inside [S * S], columns [first, last], rows [first, last] }.
function insideOf([a, b, c, d, e, f], { width, height }, size) {
  const inside = new Uint8Array(size * size);
  const columns = [size, -1], rows = [size, -1];
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const x = a * (column + 0.5) + b * (row + 0.5) + c, y = d * (column + 0.5) + e * (row + 0.5) + f;
      if (!(x >= 0 && y >= 0 && x < width && y < height)) continue;
      inside[row * size + column] = 1;
      columns[0] = Math.min(columns[0], column);
      columns[1] = Math.max(columns[1], column);
      rows[0] = Math.min(rows[0], row);
      rows[1] = Math.max(rows[1], row);
    }
  }
  return columns[1] < 0 ? null : { inside, columns, rows };
}

function upright(part, matrix, { columns, rows }, size) {
  const scale = matrix[0];
  const box = [columns[0], rows[0], columns[1] + 1, rows[1] + 1].map((edge, k) => scale * edge + matrix[k % 2 ? 5 : 2]);
  // The outermost pixels may reach half over the photo's border: its last pixels go on there.
  const before = [0, 1].map((k) => Math.max(Math.ceil(-box[k]), 0));
  const extent = [part.width, part.height];
  const after = [0, 1].map((k) => Math.max(Math.ceil(box[2 + k] - extent[k]), 0));
  const wide = extent.map((length, k) => length + before[k] + after[k]);
  const moved = box.map((edge, k) => clamp(edge + before[k % 2], 0, wide[k % 2]));
  const padded = crop(part, before, wide);
  const target = [columns[1] + 1 - columns[0], rows[1] + 1 - rows[0]];
  const small = resize(padded, moved, target);
  const picture = new Float32Array(size * size * 3);
  for (let row = 0; row < target[1]; row++) {
    for (let column = 0; column < target[0]; column++) {
      const from = (row * target[0] + column) * 4, to = ((row + rows[0]) * size + column + columns[0]) * 3;
      for (let k = 0; k < 3; k++) picture[to + k] = small.data[from + k] / 255;
    }
  }
  return picture;
}

// A copy of a part of a photo with `before` px of its border repeated in front, `extent` px in all.
function crop({ photo, low, width, height }, before, [across, down]) {
  const data = new Uint8ClampedArray(across * down * 4);
  for (let row = 0, at = 0; row < down; row++) {
    const line = (low[1] + clamp(row - before[1], 0, height - 1)) * photo.width;
    for (let column = 0; column < across; column++, at += 4) {
      const from = (line + low[0] + clamp(column - before[0], 0, width - 1)) * 4;
      for (let k = 0; k < 3; k++) data[at + k] = photo.data[from + k];
    }
  }
  return { width: across, height: down, data };
}

// Antialiased bicubic resize of a box [x0, y0, x1, y1] to [width, height], to bytes after each axis, as Pillow's.
export function resize(photo, box, [width, height]) {
  const scale = [(box[2] - box[0]) / width, (box[3] - box[1]) / height];
  const factor = scale.map((value) => Math.trunc(value / REDUCING_GAP) || 1);
  if (factor[0] > 1 || factor[1] > 1) {
    const safe = [
      Math.max(0, Math.trunc(box[0] - 1.5 * scale[0])), Math.max(0, Math.trunc(box[1] - 1.5 * scale[1])),
      Math.min(photo.width, Math.ceil(box[2] + 1.5 * scale[0])), Math.min(photo.height, Math.ceil(box[3] + 1.5 * scale[1])),
    ];
    photo = reduce(photo, safe, factor[0], factor[1]);
    box = box.map((edge, k) => (edge - safe[k % 2]) / factor[k % 2]);
  }
  const narrow = along(photo, photo.width, box[0], box[2], width, 4, photo.width * 4, photo.height);
  const both = along({ data: narrow }, photo.height, box[1], box[3], height, width * 4, 4, width);
  return { width, height, data: transposed(both, height, width) };
}

// Resizes each of `lines` lines of `length` px from `start` to `end` to `target` px; px lie `stride` bytes apart, lines
// `lineStride`. The answer is line by line.
function along({ data }, length, start, end, target, stride, lineStride, lines) {
  const scale = (end - start) / target, wide = Math.max(scale, 1), support = 2 * wide;
  const out = new Uint8ClampedArray(lines * target * 4);
  for (let pixel = 0; pixel < target; pixel++) {
    const centre = start + (pixel + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const last = Math.min(Math.trunc(centre + support + 0.5), length);
    const weights = Array.from({ length: last - first }, (_, k) => bicubic((k + first - centre + 0.5) / wide));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    for (let line = 0; line < lines; line++) {
      let red = 0, green = 0, blue = 0;
      for (let k = 0, from = line * lineStride + first * stride; k < weights.length; k++, from += stride) {
        red += weights[k] * data[from];
        green += weights[k] * data[from + 1];
        blue += weights[k] * data[from + 2];
      }
      const to = (line * target + pixel) * 4;
      out[to] = asByte(red / sum);
      out[to + 1] = asByte(green / sum);
      out[to + 2] = asByte(blue / sum);
    }
  }
  return out;
}

function transposed(data, width, height) {  // [height, width] px -> [width, height]
  const out = new Uint8ClampedArray(data.length);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++)
      for (let k = 0; k < 3; k++) out[(column * height + row) * 4 + k] = data[(row * width + column) * 4 + k];
  return out;
}

function bicubic(x) {  // Catmull and Rom's, a = -1/2
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

function turned(part, [a, b, c, d, e, f], shrink, size, inside) {
  const whole = crop(part, [0, 0], [part.width, part.height]);
  const target = [part.width, part.height].map((length) => Math.max(Math.round(length / shrink), 1));
  const small = resize(whole, [0, 0, part.width, part.height], target);
  const spline = splineWeights(small);
  const ratio = [target[0] / part.width, target[1] / part.height];
  const picture = new Float32Array(size * size * 3);
  for (let row = 0, at = 0; row < size; row++) {
    for (let column = 0; column < size; column++, at += 3) {
      if (!inside[row * size + column]) continue;
      const x = (a * (column + 0.5) + b * (row + 0.5) + c) * ratio[0] - 0.5;
      const y = (d * (column + 0.5) + e * (row + 0.5) + f) * ratio[1] - 0.5;
      splineAt(spline, clamp(x, -1, target[0]), clamp(y, -1, target[1]), picture, at);
    }
  }
  return picture;
}

// Weights of the cubic B-splines that pass through the pixels, with SPLINE_REACH px around (Unser, Aldroubi, Eden 1991).
function splineWeights({ width, height, data }) {
  const reach = SPLINE_REACH, across = width + 2 * reach, down = height + 2 * reach;
  const weights = new Float32Array(across * down * 3);
  for (let row = 0, at = 0; row < down; row++) {
    const line = clamp(row - reach, 0, height - 1) * width;
    for (let column = 0; column < across; column++, at += 3) {
      const from = (line + clamp(column - reach, 0, width - 1)) * 4;
      for (let k = 0; k < 3; k++) weights[at + k] = data[from + k] / 255;
    }
  }
  const filter = (start, stride, count) => {
    for (let k = 0; k < count; k++) weights[start + k * stride] *= -6 * SPLINE_POLE;
    for (let k = 1; k < count; k++) weights[start + k * stride] += SPLINE_POLE * weights[start + (k - 1) * stride];
    for (let k = count - 2; k >= 0; k--) weights[start + k * stride] += SPLINE_POLE * weights[start + (k + 1) * stride];
  };
  for (let column = 0; column < across * 3; column++) filter(column, across * 3, down);
  for (let row = 0; row < down; row++) for (let k = 0; k < 3; k++) filter(row * across * 3 + k, 3, across);
  return { weights, across };
}

function splineAt({ weights, across }, x, y, out, at) {
  const left = Math.floor(x), top = Math.floor(y);
  const horizontal = splineBasis(x - left), vertical = splineBasis(y - top);
  for (let down = 0; down < 4; down++) {
    for (let right = 0; right < 4; right++) {
      const from = ((top + SPLINE_REACH - 1 + down) * across + left + SPLINE_REACH - 1 + right) * 3;
      const weight = vertical[down] * horizontal[right];
      for (let k = 0; k < 3; k++) out[at + k] += weight * weights[from + k];
    }
  }
  for (let k = 0; k < 3; k++) out[at + k] = clamp(out[at + k], 0, 1);
}

function splineBasis(part) {
  const rest = 1 - part;
  return [rest ** 3 / 6, 2 / 3 - part ** 2 * (1 - part / 2), 2 / 3 - rest ** 2 * (1 - rest / 2), part ** 3 / 6];
}
