// Similarities of the picture plane: q = scale * R(rotation) p + (x, y), in pixels with y down. A positive rotation turns
// x towards y, clockwise as seen. The same as `Similarity` in tf_deep3d/face/geometry.py.
//
// Pixels: x right, y down, centre of pixel (row i, column j) at (j + 0.5, i + 0.5), in photo and crop alike.

export function similarity(scale = 1, rotation = 0, x = 0, y = 0) {
  return { scale, rotation, x, y };
}

// [a, b, c, d, e, f] of q = (a x + b y + c, d x + e y + f).
export function matrixOf({ scale, rotation, x, y }) {
  const c = scale * Math.cos(rotation), s = scale * Math.sin(rotation);
  return [c, -s, x, s, c, y];
}

export function apply(transform, [x, y]) {
  const [a, b, c, d, e, f] = matrixOf(transform);
  return [a * x + b * y + c, d * x + e * y + f];
}

export function inverse({ scale, rotation, x, y }) {
  const undo = similarity(1 / scale, -rotation);
  const [left, up] = apply(undo, [x, y]);
  return similarity(undo.scale, undo.rotation, -left, -up);
}

// Maps a square of the photo, turned by `angle` radians about its centre, onto `size` px.
export function squareRegion([x, y], side, angle, size) {
  return around([x, y], similarity(size / side, -angle), size);
}

// `turn`, moved so that the point (x, y) comes to the middle of `size` px.
export function around([x, y], turn, size) {
  const [left, up] = apply(turn, [x, y]);
  return similarity(turn.scale, turn.rotation, size / 2 - left, size / 2 - up);
}
