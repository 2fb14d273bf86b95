// Cuts the network's picture out of a photo by five points: tf_deep3d/detection/alignment.py.

import { sample } from "./pixels.js";
import { around, similarity } from "./similarity.js";

// The least squares of points = [s R1; s R2] model + t: scale in px per dm, origin in photo px, roll in radians.
export function weakPerspective(points5, modelPoints5) {
  const rows = modelPoints5.map((point) => [...point, 1]);
  const gram = rows[0].map((_, i) => rows[0].map((_, j) => rows.reduce((sum, row) => sum + row[i] * row[j], 0)));
  const solved = [0, 1].map((axis) => {
    const sign = axis ? -1 : 1;
    const target = rows[0].map((_, i) => rows.reduce((sum, row, n) => sum + row[i] * sign * points5[n][axis], 0));
    return solve(gram, target);
  });
  const [across, up] = solved;
  const scale = (Math.hypot(...across.slice(0, 3)) + Math.hypot(...up.slice(0, 3))) / 2;
  return { scale, origin: [across[3], -up[3]], roll: Math.atan2(-across[1], up[1]) };
}

// The similarity from photo px to px of the aligned picture. `input` is `input` of the bundle's manifest.
export function alignmentTransform(points5, { size, alignment }) {
  const { scale, origin, roll } = weakPerspective(points5, alignment.model_points5);
  const turn = similarity(alignment.model_scale / scale, Math.abs(roll) > alignment.roll_limit ? roll : 0);
  return around(origin, turn, size);
}

export function align(photo, points5, input) {
  const transform = alignmentTransform(points5, input);
  return { transform, image: sample(photo, transform, input.size) };
}

// x of `matrix` x = `target`, for a matrix [N, N] that is symmetric and positive definite.
function solve(matrix, target) {
  const rows = matrix.map((row, i) => [...row, target[i]]);
  for (let pivot = 0; pivot < rows.length; pivot++) {
    for (let i = pivot + 1; i < rows.length; i++) {
      const factor = rows[i][pivot] / rows[pivot][pivot];
      for (let j = pivot; j <= rows.length; j++) rows[i][j] -= factor * rows[pivot][j];
    }
  }
  const x = new Array(rows.length);
  for (let i = rows.length - 1; i >= 0; i--) {
    let rest = rows[i][rows.length];
    for (let j = i + 1; j < rows.length; j++) rest -= rows[i][j] * x[j];
    x[i] = rest / rows[i][i];
  }
  return x;
}
