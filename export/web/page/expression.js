// ARKit's units as landmarks show them: the solver of tf_deep3d/face/expression.py, which says what it does and why. What was
// measured and its constants come with the face model (`expression_data.py`).
//
// Letters: L landmarks, J units, F features, K coordinates. Matrices are flat, row by row, in double precision, unless they
// are arrays of rows.

import { anglesOf, times } from "./face.js";

const EPSILON = 1e-12;

// What is known of everybody, or null for a model without units or dense landmarks.
export function openActor({ solver, ...model }) {
  if (!solver) return null;
  const at = (field) => atLandmarks(model.dense, model.denseShares, field);
  const modes = ({ step, modes: all }) => all.map((mode) => at(mode).map((value) => value * step));
  const size = model.neutralMean.length, count = model.moves.length / size;
  const rowsOf = (flat, length) => Array.from({ length: count }, (_, k) => Float64Array.from(flat.subarray(k * length, (k + 1) * length)));
  const moves = rowsOf(model.moves, size), bends = rowsOf(model.bends, size);
  const sure = Float64Array.from(model.neutralSpread, (spread) => 1 / (1 + spread));
  const among = (one, other) => one.map((a) => Float64Array.from(other, (b) => weighed(a, b, sure)));
  const still = new Uint8Array(model.seenPoints.length / 3).fill(1).fill(0, ...solver.irises);
  return {
    solver, camera: model.camera, seenPoints: model.seenPoints, rows: model.rows, mean: model.neutralMean, sure, still, moves, bends,
    straight: among(moves, moves), across: among(moves, bends), bent: among(bends, bends),
    points: at(model.meanShape), identity: modes(model.identity), units: modes(model.blendshapes),
  };
}

// The same person with an identity [Ki] that many pictures agree on.
export function withIdentity(actor, identity) {
  const moved = actor.points.map((value, i) => identity.reduce((sum, weight, k) =>
    sum + weight * actor.identity[k][i], value));
  return { ...actor, points: moved };
}

// Weights [J] in [0, 1] of the model's units in a picture: `frame` is { pixels [2 L] of the aligned picture, rotation,
// translation: about the head's }.
export function solve(actor, frame) {
  const { solver, moves, bends, bent, rows, mean, sure } = actor;
  const features = featuresOf(actor, frame), change = new Float64Array(mean.length);
  for (let k = 0, at = 0; k < mean.length; k++) {
    let sum = -mean[k];
    for (let f = 0; f < features.length; f++, at++) sum += rows[at] * features[f];
    change[k] = sum * sure[k];
  }
  const products = [moves, bends].map((each) => Float64Array.from(each, (row) => dot(row, change)));
  const none = new Float64Array(moves.length), half = none.map((_, j) => (bent[j][j] > 0 ? 0.5 : 0));
  const found = [none, half].map((start) => descend(actor, products, start));
  const [one, other] = found.map((weights) => height(actor, products, weights));
  const weights = Float64Array.from(one <= other ? found[0] : found[1]), [corrective, base] = solver.corrective;
  if (corrective >= 0) weights[base] = Math.min(weights[base] + weights[corrective], 1);
  return solver.wanted.map((k) => (k < 0 ? 0 : weights[k]));
}

// Where a person who shows weights [J] of the model's units is in a picture: { rotation, translation }.
export function place(actor, frame, weights) {
  const points = Float64Array.from(actor.points);
  actor.units.forEach((unit, k) => weights[k] && unit.forEach((value, i) => { points[i] += weights[k] * value; }));
  return fitPose(actor, points, frame);
}

// Weights where Gauss-Newton steps lead that begin with the bends as they are at `start`, without their slopes.
function descend({ solver, straight, across, bent }, [move, bend], start) {
  let weights = new Float64Array(start.length), slope = weights, curve = start.map((w) => 4 * w * (1 - w));
  for (let step = 0; step < solver.steps; step++) {
    const normal = straight.map((row, i) => row.map((value, j) => value + across[i][j] * slope[j] + across[j][i] * slope[i]
      + slope[i] * slope[j] * bent[i][j] + solver.costs[i][j]));
    const rest = curve.map((value, j) => value - slope[j] * weights[j]);
    const target = Float64Array.from(move, (value, i) => value - dot(across[i], rest) + slope[i] * (bend[i] - dot(bent[i], rest))
      - solver.prices[i] * (step ? solver.soft / (weights[i] + solver.soft) : solver.start));
    weights = Float64Array.from(boundedLeastSquares(normal, target, solver.bounded));
    curve = weights.map((w) => 4 * w * (1 - w));
    slope = weights.map((w) => 4 * (1 - 2 * w));
  }
  return weights;
}

// Half of what the weights make least, less what no weights change.
function height({ solver, straight, across, bent }, [move, bend], weights) {
  const curve = weights.map((w) => 4 * w * (1 - w));
  const form = (rows, a, b) => rows.reduce((sum, row, i) => sum + a[i] * dot(row, b), 0);
  const fit = form(straight, weights, weights) / 2 + form(across, weights, curve) + form(bent, curve, curve) / 2
    - dot(move, weights) - dot(bend, curve);
  const priced = weights.reduce((sum, w, j) => sum + solver.prices[j] * Math.log1p(w / solver.soft), 0);
  return fit + form(solver.costs, weights, weights) / 2 + priced * solver.soft;
}

// The features [F] of a frame.
function featuresOf(actor, frame) {
  const { solver, seenPoints, camera: { focal, center: [cx, cy], distance } } = actor;
  const { rotation, translation: [tx, ty, tz] } = fitPose(actor, seenPoints, frame);
  const size = seenPoints.length / 3, features = new Float64Array(2 * size + 5);
  for (let l = 0; l < size; l++) {
    const [x, y, z] = turned(rotation, seenPoints, l), depth = distance - z - tz;
    const right = ((frame.pixels[2 * l] - cx) * depth) / focal - x - tx;
    const up = -((frame.pixels[2 * l + 1] - cy) * depth) / focal - y - ty;
    features[2 * l] = right * rotation[0][0] + up * rotation[1][0];
    features[2 * l + 1] = right * rotation[0][1] + up * rotation[1][1];
  }
  const angles = anglesOf(rotation);
  features.set([...angles, ...angles.slice(0, 2).map((angle) => angle * angle)].map((value) => solver.pose * value), 2 * size);
  return features;
}

// Where rigid points [3 L] are in a picture, but for the irises: Gauss-Newton from about there.
function fitPose({ solver, still, camera: { focal, center: [cx, cy], distance } }, points, { pixels, ...start }) {
  let { rotation, translation } = start;
  for (let step = 0; step < solver.steps; step++) {
    const [tx, ty, tz] = translation;
    const normal = Array.from({ length: 6 }, (_, i) => new Float64Array(6).fill(solver.loose, i, i + 1)), target = new Float64Array(6);
    for (let l = 0; l < still.length; l++) {
      if (!still[l]) continue;
      const [x, y, z] = turned(rotation, points, l);
      const depth = distance - z - tz, right = x + tx, up = y + ty, scale = focal / depth, slant = focal / (depth * depth);
      const away = [pixels[2 * l] - cx - scale * right, pixels[2 * l + 1] - cy + scale * up];
      [[scale, 0, slant * right], [0, -scale, -slant * up]].forEach(([gx, gy, gz], axis) => {
        const row = [gz * y - gy * z, gx * z - gz * x, gy * x - gx * y, gx, gy, gz];  // a turn w moves by w x point
        for (let i = 0; i < 6; i++) {
          target[i] += row[i] * away[axis];
          for (let j = 0; j < 6; j++) normal[i][j] += row[i] * row[j];
        }
      });
    }
    const moved = substitute(cholesky(normal), target);
    rotation = times(turnOf(moved), rotation);
    translation = [0, 1, 2].map((axis) => translation[axis] + moved[3 + axis]);
  }
  return { rotation, translation };
}

const turned = (rotation, points, l) => rotation.map((row) =>
  row[0] * points[3 * l] + row[1] * points[3 * l + 1] + row[2] * points[3 * l + 2]);

// `bounded_least_squares` of tf_deep3d/face/blendshapes.py, between 0 and 1.
export function boundedLeastSquares(gram, target, { steps, tolerance }) {
  const clip = (value) => Math.min(Math.max(value, 0), 1);
  let x = substitute(cholesky(gram), target).map(clip);
  const largest = (rows) => rows.reduce((most, row) => row.reduce((top, value) => Math.max(top, Math.abs(value)), most), 0);
  const settled = tolerance * largest([target, ...gram]);
  for (let step = 0; step < steps; step++) {
    const slope = gram.map((row, i) => dot(row, x) - target[i]);
    const free = [...x.keys()].filter((i) => !((x[i] <= 0 && slope[i] > 0) || (x[i] >= 1 && slope[i] < 0)));
    if (!free.some((i) => Math.abs(slope[i]) > settled)) break;
    const part = free.map((i) => Float64Array.from(free, (j) => gram[i][j]));
    const taken = substitute(cholesky(part), free.map((i) => slope[i])), full = new Float64Array(x.length);
    free.forEach((i, k) => { full[i] = taken[k]; });
    for (let share = 1, halving = 0; halving < 40; halving++, share /= 2) {
      const moved = x.map((value, i) => clip(value - share * full[i]) - value);
      const descent = dot(slope, moved), bend = gram.reduce((sum, row, i) => sum + moved[i] * dot(row, moved), 0);
      if (descent + bend / 2 > 1e-4 * descent && halving < 39) continue;
      x = x.map((value, i) => value + moved[i]);
      break;
    }
  }
  return x;
}

// Values [3 L] of a field [3 V] at the landmarks.
function atLandmarks(corners, shares, field) {
  return Float64Array.from({ length: corners.length }, (_, k) => {
    const first = k - (k % 3), axis = k % 3;
    return [0, 1, 2].reduce((sum, n) => sum + shares[first + n] * field[3 * corners[first + n] + axis], 0);
  });
}

// The rotation of a vector in radians (Rodrigues).
function turnOf([x, y, z]) {
  const angle = Math.sqrt(x * x + y * y + z * z + EPSILON);
  const across = [[0, -z, y], [z, 0, -x], [-y, x, 0]], twice = times(across, across);
  const [s, c] = [Math.sin(angle) / angle, (1 - Math.cos(angle)) / (angle * angle)];
  return across.map((row, i) => row.map((value, j) => Number(i === j) + s * value + c * twice[i][j]));
}

// The product of two rows, number by number times `weights`.
function weighed(a, b, weights) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k] * b[k] * weights[k];
  return sum;
}

function dot(a, b) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k] * b[k];
  return sum;
}

// The lower factor, rows, of a matrix of rows that is symmetric and positive definite.
function cholesky(matrix) {
  const factor = [];
  for (let i = 0; i < matrix.length; i++) {
    const row = new Float64Array(matrix.length);
    for (let j = 0; j <= i; j++) {
      const other = j < i ? factor[j] : row;
      let rest = matrix[i][j];
      for (let k = 0; k < j; k++) rest -= row[k] * other[k];
      row[j] = j < i ? rest / other[j] : Math.sqrt(rest);
    }
    factor.push(row);
  }
  return factor;
}

// x of L L' x = `target` for the `factor` L of `cholesky`, in its two steps.
const substitute = (factor, target) => backward(factor, forward(factor, target));

function forward(factor, target) {
  const x = Float64Array.from(target);
  for (let i = 0; i < x.length; i++) {
    const row = factor[i];
    let rest = x[i];
    for (let k = 0; k < i; k++) rest -= row[k] * x[k];
    x[i] = rest / row[i];
  }
  return x;
}

function backward(factor, x) {
  for (let i = x.length - 1; i >= 0; i--) {
    const row = factor[i], value = (x[i] /= row[i]);
    for (let k = 0; k < i; k++) x[k] -= row[k] * value;
  }
  return x;
}
