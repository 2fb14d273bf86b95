// ARKit's units as landmarks show them: the solver of tf_deep3d/face/expression.py, which says what it does and why. Its
// constants and matrices come with the face model (`expression_data.py`).
//
// Letters: L landmarks, J units, Ki identity modes. The N unknowns are turn 3, place 3, units J, identity Ki, smooth errors;
// matrices are flat, row by row, in double precision.

import { anglesOf, times, turn, vertexNormals } from "./face.js";

const POSE = 6, EPSILON = 1e-12;

// What is known of everybody, or null for a model without units or dense landmarks: points [3 L], shapes [3 L, J + Ki],
// normals [3 L], dm, and `solver` of the model's file.
export function openActor({ solver, ...model }) {
  if (!solver) return null;
  const at = (field) => atLandmarks(model.dense, model.denseShares, field);
  const modes = ({ step, modes: all }, factor) => all.map((mode) => at(mode).map((value) => value * step * factor));
  const units = modes(model.blendshapes, solver.seen);
  const [corrective, base] = solver.corrective;
  if (corrective >= 0) units[corrective] = units[corrective].map((value, k) => value + units[base][k]);
  const normals = unit(at(vertexNormals(model.meanShape, model.triangles)));
  const identity = modes(model.identity, 1);
  const fields = [...units, ...identity.slice(0, solver.modes).map((mode) => mode.map((value) => value * solver.doubt))];
  const shapes = Float64Array.from({ length: normals.length * fields.length }, (_, k) =>
    fields[k % fields.length][Math.trunc(k / fields.length)]);
  const actor = {
    solver, normals, shapes, identity, camera: model.camera, moments: model.moments, smooth: model.smooth,
    points: at(model.meanShape), count: units.length,
  };
  actor.size = frontalSize(actor);
  return actor;
}

// The same person with an identity [Ki] that many pictures agree on; the normals stay the mean's.
export function withIdentity(actor, identity) {
  const moved = actor.points.map((value, i) => identity.reduce((sum, weight, k) =>
    sum + weight * actor.identity[k][i], value));
  return { ...actor, points: moved };
}

// What a picture shows: { weights of the units [J] in [0, 1], rotation, translation, found: all unknowns but the pose }.
// `frame` is { pixels [2 L] of the aligned picture, rotation, translation: about the head's }. After `found` of the picture
// before, one step does.
export function solve(actor, frame, found = null) {
  const { solver, shapes, count, points, smooth } = actor;
  const size = points.length / 3, errors = smooth.length / size;
  const columns = POSE + shapes.length / points.length, unknowns = columns + 2 * errors;
  let { rotation, translation } = frame;
  const trust = trustOf(actor, frame, rotation, translation);
  let first = !found;
  found ??= new Float64Array(unknowns - POSE);
  const rows = 4 * Math.ceil(size / 2);  // of derivatives and what is left to explain, times the root of the weights
  const jacobian = new Float64Array(rows * unknowns), residual = new Float64Array(rows);
  for (let step = first ? 0 : solver.steps - 1; step < solver.steps; step++, first = false) {
    linearize(actor, frame, { rotation, translation, found, trust, columns, errors }, jacobian, residual);
    const { normal, target } = productsOf(jacobian, residual);
    for (let i = 0; i < unknowns; i++)
      for (let j = POSE; j < unknowns; j++) target[i] += normal[i * unknowns + j] * found[j - POSE];
    for (let i = 0; i < unknowns; i++)
      if (i < POSE || i >= POSE + count) normal[i * unknowns + i] += i < POSE ? solver.loose : 1;
    for (let i = 0; i < count; i++) {
      for (let j = 0; j < count; j++) normal[(POSE + i) * unknowns + POSE + j] += solver.bonds[i][j];
      target[POSE + i] -= solver.rare * (first ? 1 : solver.soft / (found[i] + solver.soft));
    }
    const solved = eliminate(normal, target, count, solver);
    rotation = times(turnOf(solved), rotation);
    translation = [0, 1, 2].map((axis) => translation[axis] + solved[3 + axis]);
    found = solved.slice(POSE);
  }
  const weights = found.slice(0, count), [corrective, base] = solver.corrective;
  if (corrective >= 0) weights[base] = Math.min(weights[base] + weights[corrective], 1);
  return { weights, rotation, translation, found };
}

// Fills `jacobian` and `residual` at the unknowns `at`: two rows a landmark.
function linearize({ solver, shapes, points, smooth, camera }, { pixels }, at, jacobian, residual) {
  const { rotation, translation, found, trust, columns, errors } = at, unknowns = columns + 2 * errors;
  const modes = columns - POSE;
  const shape = points.map((value, i) => {
    for (let k = 0, at = i * modes; k < modes; k++, at++) value += found[k] * shapes[at];
    return value;
  });
  const [from, to] = solver.irises, { focal, center: [cx, cy], distance } = camera;
  const [r0, r1, r2] = rotation;
  for (let l = 0; l < points.length / 3; l++) {
    const [px, py, pz] = [shape[3 * l], shape[3 * l + 1], shape[3 * l + 2]];
    const [x, y, z] = [r0, r1, r2].map((row) => row[0] * px + row[1] * py + row[2] * pz);
    const depth = distance - z - translation[2], right = x + translation[0], up = y + translation[1];
    let u = pixels[2 * l] - cx - (focal * right) / depth, v = pixels[2 * l + 1] - cy + (focal * up) / depth;
    for (let k = 0; k < errors; k++) {
      u -= smooth[l * errors + k] * found[columns - POSE + k];
      v -= smooth[l * errors + k] * found[columns - POSE + errors + k];
    }
    const [xx, xy, yy] = [trust[3 * l], trust[3 * l + 1], trust[3 * l + 2]];
    const off = l >= from && l < to ? 0 : Math.sqrt(Math.max(xx * u * u + 2 * xy * u * v + yy * v * v, 0)) * solver.stray;
    const pull = Math.min(1, solver.outlier / Math.max(off, 1e-9));
    const a = Math.sqrt(xx * pull), b = a && (xy * pull) / a, c = Math.sqrt(Math.max(yy * pull - b * b, 0));  // the weights are G' G
    residual[2 * l] = a * u + b * v;  // G = [[a, b], [0, c]]
    residual[2 * l + 1] = c * v;
    const here = 2 * l * unknowns, below = here + unknowns;
    const scale = focal / depth, slant = focal / (depth * depth);
    // Rows of G times the derivative of the projection by the turned point.
    const g = [a * scale, -b * scale, (a * right - b * up) * slant], h = [0, -c * scale, -c * up * slant];
    for (const [row, [gx, gy, gz]] of [[here, g], [below, h]]) {
      jacobian.set([gz * y - gy * z, gx * z - gz * x, gy * x - gx * y, gx, gy, gz], row);  // a turn w moves by w x point
      const [mx, my, mz] = [0, 1, 2].map((k) => gx * r0[k] + gy * r1[k] + gz * r2[k]);
      for (let k = 0, p = 3 * l * modes, q = p + modes, r = q + modes; k < modes; k++)
        jacobian[row + POSE + k] = mx * shapes[p + k] + my * shapes[q + k] + mz * shapes[r + k];
    }
    for (let k = 0; k < errors; k++) {
      const error = smooth[l * errors + k];
      jacobian[here + columns + k] = a * error;
      jacobian[here + columns + errors + k] = b * error;
      jacobian[below + columns + errors + k] = c * error;
    }
  }
}

// J' J [N, N] and J' r [N] of rows J [4 k, N] and r: four rows at a time, and units that do not move them cost nothing.
function productsOf(jacobian, residual) {
  const count = jacobian.length / residual.length;
  const normal = new Float64Array(count * count), target = new Float64Array(count);
  for (let row = 0; row < residual.length; row += 4) {
    const [first, second, third, fourth] = [0, 1, 2, 3].map((k) => jacobian.subarray((row + k) * count, (row + k + 1) * count));
    for (let i = 0; i < count; i++) {
      const a = first[i], b = second[i], c = third[i], d = fourth[i];
      if (!a && !b && !c && !d) continue;
      target[i] += a * residual[row] + b * residual[row + 1] + c * residual[row + 2] + d * residual[row + 3];
      for (let j = i, at = i * count + i; j < count; j++, at++)
        normal[at] += a * first[j] + b * second[j] + c * third[j] + d * fourth[j];
    }
  }
  for (let i = 0; i < count; i++) for (let j = 0; j < i; j++) normal[i * count + j] = normal[j * count + i];
  return { normal, target };
}

// The unknowns of `normal` x = `target` with units in [0, 1]: all others are eliminated (Schur complement).
function eliminate(normal, target, count, solver) {
  const unknowns = target.length;
  const wanted = Array.from({ length: count }, (_, k) => POSE + k);
  const others = Array.from({ length: unknowns }, (_, k) => k).filter((k) => k < POSE || k >= POSE + count);
  const factor = cholesky(others.map((i) => Float64Array.from(others, (j) => normal[i * unknowns + j])));
  const columns = wanted.map((j) => forward(factor, others.map((i) => normal[i * unknowns + j])));
  const known = forward(factor, others.map((i) => target[i]));
  const gram = wanted.map(() => new Float64Array(count));
  for (let a = 0; a < count; a++)
    for (let b = 0; b <= a; b++)
      gram[a][b] = gram[b][a] = normal[wanted[a] * unknowns + wanted[b]] - dot(columns[a], columns[b]);
  const weights = boundedLeastSquares(gram, wanted.map((i, a) => target[i] - dot(columns[a], known)), solver.bounded);
  columns.forEach((column, a) => column.forEach((value, row) => { known[row] -= value * weights[a]; }));
  const rest = backward(factor, known), x = new Float64Array(unknowns);
  wanted.forEach((i, a) => { x[i] = weights[a]; });
  others.forEach((i, row) => { x[i] = rest[row]; });
  return x;
}

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

// Weights [3 L] (xx, xy, yy) of the squared distances.
function trustOf(actor, { pixels }, rotation, translation) {
  const { solver, points, normals, moments } = actor, size = points.length / 3;
  const turned = turn(points, rotation, translation), facing = turn(normals, rotation);
  const factors = new Float64Array(size);
  for (let l = 0; l < size; l++) {
    const [x, y, z] = [-turned[3 * l], -turned[3 * l + 1], actor.camera.distance - turned[3 * l + 2]];
    const cosine = (facing[3 * l] * x + facing[3 * l + 1] * y + facing[3 * l + 2] * z) / Math.hypot(x, y, z);
    const [low, high] = solver.cosines, seen = Math.min(Math.max((cosine - low) / (high - low), 0), 1);
    factors[l] = (solver.hidden + (1 - solver.hidden) * seen) / solver.stray ** 2;
  }
  const apart = (i, j) => Math.hypot(pixels[2 * i] - pixels[2 * j], pixels[2 * i + 1] - pixels[2 * j + 1]);
  for (const { iris: [from, to], corners, upper, lower } of solver.eyes) {
    const gap = upper.reduce((sum, point, k) => sum + apart(point, lower[k]), 0) / upper.length;
    const open = (gap / Math.max(apart(...corners), 1e-9) - solver.closed) / (solver.open - solver.closed);
    for (let l = from; l < to; l++) factors[l] *= Math.min(Math.max(open, 0), 1) * (solver.stray / solver.iris) ** 2;
  }
  if (!moments) return Float64Array.from({ length: 3 * size }, (_, k) => (k % 3 === 1 ? 0 : factors[Math.trunc(k / 3)]));
  const [pitch, yaw, roll] = anglesOf(rotation), c = Math.cos(roll), s = Math.sin(roll);
  const upright = precisions(actor, pitch, yaw);
  for (let l = 0; l < size; l++) {
    const [xx, xy, yy] = upright.subarray(3 * l, 3 * l + 3), factor = factors[l] / actor.size;
    upright[3 * l] = factor * (c * c * xx + 2 * c * s * xy + s * s * yy);
    upright[3 * l + 1] = factor * (c * s * (yy - xx) + (c * c - s * s) * xy);
    upright[3 * l + 2] = factor * (s * s * xx - 2 * c * s * xy + c * c * yy);
  }
  return upright;
}

// Inverse second moments [3 L] of the landmarks of an upright head (`uncertainty.precision`), not yet over their size.
function precisions({ solver: { grid }, moments, points }, pitch, yaw) {
  const along = (angle, limit, count) => {
    const place = ((Math.min(Math.max(angle / limit, -1), 1) + 1) * (count - 1)) / 2;
    return Array.from({ length: count }, (_, node) => Math.max(1 - Math.abs(place - node), 0));
  };
  const pitches = along(pitch, grid.pitch, grid.pitches), mixed = new Float64Array(points.length);
  along(yaw, grid.yaw, grid.yaws).forEach((across, y) => pitches.forEach((up, p) => {
    const share = across * up, start = (y * grid.pitches + p) * mixed.length;
    if (share) for (let k = 0; k < mixed.length; k++) mixed[k] += share * moments[start + k];
  }));
  for (let k = 0; k < mixed.length; k += 3) {
    const [xx, xy, yy] = mixed.subarray(k, k + 3), determinant = xx * yy - xy * xy;
    mixed.set([yy / determinant, -xy / determinant, xx / determinant], k);
  }
  return mixed;
}

function frontalSize(actor) {
  if (!actor.moments) return 1;
  const front = precisions(actor, 0, 0);
  return front.reduce((sum, value, k) => sum + (k % 3 === 1 ? 0 : value), 0) / 2 / (front.length / 3);
}

// Values [3 L] of a field [3 V] at the landmarks.
function atLandmarks(corners, shares, field) {
  return Float64Array.from({ length: corners.length }, (_, k) => {
    const first = k - (k % 3), axis = k % 3;
    return [0, 1, 2].reduce((sum, n) => sum + shares[first + n] * field[3 * corners[first + n] + axis], 0);
  });
}

function unit(vectors) {
  return vectors.map((value, k) => value / Math.hypot(...vectors.subarray(k - (k % 3), k - (k % 3) + 3)));
}

// The rotation of a vector in radians (Rodrigues).
function turnOf([x, y, z]) {
  const angle = Math.sqrt(x * x + y * y + z * z + EPSILON);
  const across = [[0, -z, y], [z, 0, -x], [-y, x, 0]], twice = times(across, across);
  const [s, c] = [Math.sin(angle) / angle, (1 - Math.cos(angle)) / (angle * angle)];
  return across.map((row, i) => row.map((value, j) => Number(i === j) + s * value + c * twice[i][j]));
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
