// Finds faces and their landmarks with MediaPipe's networks: tf_deep3d/detection/detector.py and networks.py, which say
// where each number comes from.
//
// `run` is a function (file name, Float32Array) -> outputs, flat Float32Arrays, largest first (`runtime.js`). A face is
// { score, box [x0, y0, x1, y1], points: 478 [x, y], points5 }, in px of the photo. A photo is as in `pixels.js`.

import { view } from "./pixels.js";
import { apply, inverse, similarity, squareRegion } from "./similarity.js";

const SHORT_RANGE = { file: "face_detection_short_range.tflite", size: 128, grids: [[16, 2], [8, 6]] };
const FULL_RANGE = { file: "face_detection_full_range.tflite", size: 192, grids: [[48, 1]] };
const MESH = { file: "face_landmark.tflite", size: 192, offset: [0.7, 0.5] };
const ATTENTION = { file: "face_landmarks_detector.tflite", size: 256 };
export const FILES = [SHORT_RANGE, FULL_RANGE, MESH, ATTENTION].map(({ file }) => file);

const MESH_POINTS = 468;
const EYE_CORNERS = [[33, 133], [362, 263]], NOSE_TIP = 4, MOUTH_CORNERS = [61, 291];
const CANDIDATE_SCORE = 0.5, ROI_FACTOR = 1.5, SMALLEST_SIDE = 1e-3;
const PRESENCE = 2, SURE = 14, UPRIGHT = 24, TURN_GAIN = 6;  // logits
const SETTLED = Math.PI / 18;
const OVERLAP = 0.3, INSIDE = 0.7, TILE_STEP = 2 / 3, TILE_FACES = 10, EASY_FACE = 0.12, LEVELS = 3, SMALLEST_FACE = 24;

// The largest face of a photo, or null; quick where it is a portrait.
export async function nearest(photo, run) {
  const region = wholeRegion(photo, SHORT_RANGE.size);
  const candidates = merge(await propose(photo, SHORT_RANGE, region, run));
  for (const candidate of candidates.sort((a, b) => side(b.box) - side(a.box))) {
    if (side(candidate.box) < EASY_FACE * Math.max(photo.width, photo.height)) break;
    const face = (await glance(photo, candidate, run)) ?? (await landmark(photo, candidate, run));
    if (face) return face;
  }
  return (await detect(photo, run))[0] ?? null;
}

// The faces of a photo, largest first.
export async function detect(photo, run) {
  let found = [];
  for (const { tile, regions } of stages(photo)) {
    if (found.length) {
      if (tile === null) continue;
      if (Math.min(...found.map((face) => side(face.box))) > EASY_FACE * 2 * tile) break;
    }
    const proposals = [];
    for (const [detector, region] of regions) proposals.push(...(await propose(photo, detector, region, run)));
    for (const candidate of merge(proposals)) {
      if (found.some((face) => same(candidate.box, face.box))) continue;
      const face = await landmark(photo, candidate, run);
      if (face) found = add(found, face);
    }
  }
  return found.sort((a, b) => side(b.box) - side(a.box));
}

// The face `last` in the next picture of a camera, or null where it is lost.
export async function follow(photo, last, run) {
  const region = regionOfLandmarks(last.points, ATTENTION.size);
  let { points, presence } = await attentionMesh(photo, region, run);
  if (presence < SURE) {  // the attention mesh doubts profiles, but shows them better than the quick mesh
    const quick = await quickMesh(photo, regionOfLandmarks(last.points, MESH.size), run);
    if (quick.presence < PRESENCE) return null;
    presence = quick.presence;
    points = (await attentionMesh(photo, regionOfLandmarks(quick.points, ATTENTION.size), run)).points;
  }
  const found = described(sigmoid(presence), points);
  return overlap(last.box, found.box) >= OVERLAP ? found : null;
}

function* stages({ width, height }) {
  const longer = Math.max(width, height);
  const levels = Math.min(Math.trunc(Math.log2(Math.max(longer / (TILE_FACES * SMALLEST_FACE), 2))), LEVELS);
  const whole = (detector, zoom, turn) => [detector, wholeRegion({ width, height }, detector.size, zoom, turn)];
  for (let level = 0; level <= levels; level++) {
    const tiles = level ? tileRegions(width, height, level, FULL_RANGE.size) : [wholeRegion({ width, height }, FULL_RANGE.size)];
    yield { tile: longer / 2 ** level, regions: tiles.map((tile) => [FULL_RANGE, tile]) };
    if (level === 1) {
      yield { tile: null, regions: [1, 0.6].map((zoom) => whole(SHORT_RANGE, zoom)) };
      yield { tile: null, regions: [1, 2, 3].map((quarter) => whole(FULL_RANGE, 1, (quarter * Math.PI) / 2)) };
    }
  }
}

function wholeRegion({ width, height }, size, zoom = 1, turn = 0) {
  return squareRegion([width / 2, height / 2], Math.max(width, height) / zoom, -turn, size);
}

function tileRegions(width, height, level, size) {
  const wide = Math.max(width, height) / 2 ** level;
  const starts = [width, height].map((length) => {
    const steps = Math.max(Math.ceil((length - wide) / (TILE_STEP * wide)), 0);
    if (!steps) return [(length - wide) / 2];
    return Array.from({ length: steps + 1 }, (_, k) => ((length - wide) * k) / steps);
  });
  return starts[1].flatMap((y) => starts[0].map((x) => squareRegion([x + wide / 2, y + wide / 2], wide, 0, size)));
}

// What one BlazeFace sees in one region: [{ score, box, keypoints: 6 [x, y] }], not yet merged.
async function propose(photo, detector, region, run) {
  const picture = view(photo, region, detector.size).map((value) => value * 2 - 1);
  const [values, logits] = await run(detector.file, picture);
  const back = inverse(region), found = [];
  let number = 0;
  for (const [cells, each] of detector.grids) {
    for (let cell = 0; cell < cells * cells; cell++) {
      const anchor = [cell % cells, Math.floor(cell / cells)].map((tick) => ((tick + 0.5) * detector.size) / cells);
      for (let k = 0; k < each; k++, number++) {
        const score = sigmoid(logits[number]);
        if (score <= CANDIDATE_SCORE) continue;
        const at = (pair) => [0, 1].map((axis) => values[number * 16 + pair * 2 + axis]);
        const place = (pair) => apply(back, at(pair).map((value, axis) => value + anchor[axis]));
        const [x, y] = place(0), half = (Math.max(...at(1)) * back.scale) / 2;
        found.push({ score, box: [x - half, y - half, x + half, y + half], keypoints: [2, 3, 4, 5, 6, 7].map(place) });
      }
    }
  }
  return found;
}

// Weighted non-maximum suppression: each best box takes the score-weighted mean of the boxes it overlaps.
export function merge(candidates) {
  let rest = [...candidates].sort((a, b) => b.score - a.score);
  const kept = [];
  while (rest.length) {
    const best = rest[0];
    const near = rest.filter((other) => other === best || overlap(best.box, other.box) > OVERLAP);
    const total = near.reduce((sum, { score }) => sum + score, 0);
    const mean = (pick) => near.reduce((sum, one) => sum + (one.score / total) * pick(one), 0);
    kept.push({
      score: best.score,
      box: best.box.map((_, k) => mean((one) => one.box[k])),
      keypoints: best.keypoints.map((point, n) => point.map((_, k) => mean((one) => one.keypoints[n][k]))),
    });
    rest = rest.filter((other) => !near.includes(other));
  }
  return kept;
}

async function glance(photo, { score, box, keypoints }, run) {
  const region = regionOfBox(box, keypoints, ATTENTION.size);
  const { points, presence } = await attentionMesh(photo, region, run);
  return presence < SURE || turnOf(region, points) >= SETTLED ? null : described(score * sigmoid(presence), points);
}

async function landmark(photo, { score, box, keypoints }, run) {
  const region = regionOfBox(box, keypoints, MESH.size);
  let best = await passes(photo, region, run);
  if (best.presence < UPRIGHT) {  // BlazeFace's eyes may be another thing on a face that lies or hangs
    let likeliest = null;
    for (let eighth = 1; eighth < 8; eighth++) {
      const turned = turnedRegion(region, (eighth * Math.PI) / 4);
      const { presence } = await quickMesh(photo, turned, run);
      if (!likeliest || presence > likeliest.presence) likeliest = { turned, presence };
    }
    const turned = await passes(photo, likeliest.turned, run);
    if (turned.presence > best.presence + TURN_GAIN) best = turned;
  }
  if (best.presence < PRESENCE) return null;
  const fine = await attentionMesh(photo, regionOfLandmarks(best.points, ATTENTION.size), run);
  return described(score * sigmoid(best.presence), fine.points);
}

async function passes(photo, region, run) {
  let found = await quickMesh(photo, region, run);
  for (let again = 0; again < 3; again++) {
    const settled = found.presence < PRESENCE || turnOf(region, found.points) < SETTLED;
    if (settled && (again || found.presence >= UPRIGHT)) break;
    region = regionOfLandmarks(found.points, MESH.size);
    found = await quickMesh(photo, region, run);
  }
  return found;
}

async function quickMesh(photo, region, run) {
  const [values, logit] = await run(MESH.file, view(photo, region, MESH.size, true));
  return { points: pointsOf(values, region, MESH.offset), presence: logit[0] };
}

async function attentionMesh(photo, region, run) {
  const [values, logit] = await run(ATTENTION.file, view(photo, region, ATTENTION.size, true));
  return { points: pointsOf(values, region, [0, 0]), presence: logit[0] };
}

function pointsOf(values, region, offset) {
  const back = inverse(region);
  return Array.from({ length: values.length / 3 }, (_, n) =>
    apply(back, [values[n * 3] + offset[0], values[n * 3 + 1] + offset[1]]));
}

function described(score, points) {
  const eyes = EYE_CORNERS.map(([a, b]) => [0, 1].map((k) => (points[a][k] + points[b][k]) / 2));
  const points5 = [...eyes, points[NOSE_TIP], points[MOUTH_CORNERS[0]], points[MOUTH_CORNERS[1]]];
  return { score, box: boxOf(points.slice(0, MESH_POINTS)), points, points5 };
}

function regionOfBox(box, keypoints, size) {
  const wide = Math.max(ROI_FACTOR * Math.max(box[2] - box[0], box[3] - box[1]), SMALLEST_SIDE);
  return squareRegion([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], wide, angleOf(keypoints[0], keypoints[1]), size);
}

function regionOfLandmarks(points, size) {
  const angle = angleOf(points[EYE_CORNERS[0][0]], points[EYE_CORNERS[1][1]]);
  const upright = similarity(1, -angle);
  const [x0, y0, x1, y1] = boxOf(points.slice(0, MESH_POINTS).map((point) => apply(upright, point)));
  const centre = apply(inverse(upright), [(x0 + x1) / 2, (y0 + y1) / 2]);
  return squareRegion(centre, Math.max(ROI_FACTOR * Math.max(x1 - x0, y1 - y0), SMALLEST_SIDE), angle, size);
}

function turnedRegion(region, angle) {
  const centre = apply(inverse(region), [MESH.size / 2, MESH.size / 2]);
  return squareRegion(centre, MESH.size / region.scale, angle - region.rotation, MESH.size);
}

function turnOf(region, points) {
  const turn = regionOfLandmarks(points, MESH.size).rotation - region.rotation;
  return Math.abs(turn - 2 * Math.PI * Math.round(turn / (2 * Math.PI)));
}

const angleOf = (start, end) => Math.atan2(end[1] - start[1], end[0] - start[0]);
const sigmoid = (logit) => 1 / (1 + Math.exp(-Math.min(Math.max(logit, -80), 80)));
const side = ([x0, y0, x1, y1]) => Math.sqrt((x1 - x0) * (y1 - y0));
const area = ([x0, y0, x1, y1]) => Math.max(x1 - x0, 0) * Math.max(y1 - y0, 0);

function boxOf(points) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

function shared(a, b) {
  return area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
}

function overlap(a, b) {  // intersection over union
  const common = shared(a, b);
  return common / Math.max(area(a) + area(b) - common, 1e-12);
}

function same(a, b) {
  return shared(a, b) / Math.max(Math.min(area(a), area(b)), 1e-12) > INSIDE || overlap(a, b) > OVERLAP;
}

function add(found, face) {
  const rivals = found.filter((other) => same(face.box, other.box));
  if (rivals.some((other) => other.score >= face.score)) return found;
  return [...found.filter((other) => !rivals.includes(other)), face];
}
