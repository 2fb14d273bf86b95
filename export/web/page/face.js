// From coefficients to a face: the equations of tf_deep3d/face/ (reconstruction, geometry, lighting, aggregation).
//
// World: right-handed, dm, x to the picture's right, y up, z out of the face; the camera stands at (0, 0, 10) and looks
// down -z. Points lie in flat arrays, x y z after each other. Letters: V vertices, T triangles.

export const AMBIENT = 0.8;  // added to the first number of the illumination of each colour
const EPSILON = 1e-12, LEAST = 1e-12;
const TYPES = { float32: Float32Array, uint16: Uint16Array, uint32: Uint32Array };

// The face model of `face_data.py`: { meanShape, meanAlbedo [3 V], triangles [3 T], identity, expression, albedo,
// blendshapes: { step, modes: Int16Array [3 V] each }, ... and what else the description holds }.
export function readModel(description, bytes) {
  const arrays = {};
  for (const [name, { type, offset, count, step }] of Object.entries(description.arrays)) {
    if (type === "modes") {
      arrays[name] = { step, modes: modesOf(bytes.subarray(offset, offset + 2 * count), description.vertices) };
    } else {
      arrays[name] = new TYPES[type](bytes.buffer, bytes.byteOffset + offset, count);
    }
  }
  return { ...description, ...arrays };
}

// Modes [K, 3, V] whose low bytes stand before all high ones, as K arrays [3 V].
function modesOf(bytes, vertices) {
  const count = bytes.length / 2, each = 3 * vertices;
  return Array.from({ length: count / each }, (_, mode) => {
    const out = new Int16Array(each);
    for (let axis = 0, from = mode * each; axis < 3; axis++)
      for (let vertex = 0; vertex < vertices; vertex++, from++)
        out[3 * vertex + axis] = bytes[from] | (bytes[count + from] << 8);
    return out;
  });
}

// Adds sum_k weights[k] modes[k] to `out` [3 V], and returns it; four at a time, which halves the time.
export function addModes(out, { step, modes }, weights) {
  const used = modes.map((mode, k) => [(weights[k] ?? 0) * step, mode]).filter(([weight]) => weight);
  while (used.length % 4) used.push([0, used[0][1]]);
  for (let k = 0; k < used.length; k += 4) {
    const [[a, p], [b, q], [c, r], [d, s]] = used.slice(k, k + 4);
    for (let i = 0; i < out.length; i++) out[i] += a * p[i] + b * q[i] + c * r[i] + d * s[i];
  }
  return out;
}

export const neutralShape = (model, identity) => addModes(Float32Array.from(model.meanShape), model.identity, identity);
export const albedoOf = (model, weights) => addModes(Float32Array.from(model.meanAlbedo), model.albedo, weights);

// R = Rz(roll) Ry(yaw) Rx(pitch) as three rows.
export function rotationMatrix([pitch, yaw, roll]) {
  const [sx, sy, sz] = [pitch, yaw, roll].map(Math.sin), [cx, cy, cz] = [pitch, yaw, roll].map(Math.cos);
  return [
    [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
    [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
    [-sy, cy * sx, cy * cx],
  ];
}

// Pitch, yaw in [-pi/2, pi/2] and roll of such a matrix.
export function anglesOf(rotation) {
  const yaw = Math.asin(Math.min(Math.max(-rotation[2][0], -1), 1));
  return [Math.atan2(rotation[2][1], rotation[2][2]), yaw, Math.atan2(rotation[1][0], rotation[0][0])];
}

export const times = (a, b) => a.map((row) => b[0].map((_, j) => row.reduce((sum, value, k) => sum + value * b[k][j], 0)));

// `points` [3 N] turned by `rotation`, and moved.
export function turn(points, rotation, [x, y, z] = [0, 0, 0]) {
  const [[a, b, c], [d, e, f], [g, h, i]] = rotation, out = new Float32Array(points.length);
  for (let at = 0; at < points.length; at += 3) {
    const px = points[at], py = points[at + 1], pz = points[at + 2];
    out[at] = a * px + b * py + c * pz + x;
    out[at + 1] = d * px + e * py + f * pz + y;
    out[at + 2] = g * px + h * py + i * pz + z;
  }
  return out;
}

// Unit normals [3 V]: the mean of the unit normals of the triangles around each vertex.
export function vertexNormals(vertices, triangles) {
  const normals = new Float32Array(vertices.length);
  for (let at = 0; at < triangles.length; at += 3) {
    const a = 3 * triangles[at], b = 3 * triangles[at + 1], c = 3 * triangles[at + 2];
    const ux = vertices[b] - vertices[a], uy = vertices[b + 1] - vertices[a + 1], uz = vertices[b + 2] - vertices[a + 2];
    const vx = vertices[c] - vertices[a], vy = vertices[c + 1] - vertices[a + 1], vz = vertices[c + 2] - vertices[a + 2];
    const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
    const scale = 1 / Math.sqrt(x * x + y * y + z * z + EPSILON);
    for (const corner of [a, b, c]) {
      normals[corner] += x * scale;
      normals[corner + 1] += y * scale;
      normals[corner + 2] += z * scale;
    }
  }
  for (let at = 0; at < normals.length; at += 3) {
    const scale = 1 / Math.sqrt(normals[at] ** 2 + normals[at + 1] ** 2 + normals[at + 2] ** 2 + EPSILON);
    for (let k = 0; k < 3; k++) normals[at + k] *= scale;
  }
  return normals;
}

const BAND0 = Math.PI / Math.sqrt(4 * Math.PI);
const BAND1 = ((2 * Math.PI) / Math.sqrt(3)) * (Math.sqrt(3) / Math.sqrt(4 * Math.PI));
const BAND2 = ((2 * Math.PI) / Math.sqrt(8)) * ((3 * Math.sqrt(5)) / Math.sqrt(12 * Math.PI));

// Colours [3 V] of `albedo` at `normals` of the world under the illumination [9 or 27], not clipped.
export function shade(albedo, normals, illumination) {
  const out = new Float32Array(albedo.length), channels = illumination.length / 9;
  for (let at = 0; at < out.length; at += 3) {
    const x = normals[at], y = normals[at + 1], z = normals[at + 2];
    const basis = [
      BAND0, -BAND1 * y, BAND1 * z, -BAND1 * x, BAND2 * x * y, -BAND2 * y * z,
      (BAND2 / (2 * Math.sqrt(3))) * (3 * z * z - 1), -BAND2 * x * z, (BAND2 / 2) * (x * x - y * y),
    ];
    for (let k = 0; k < 3; k++) {
      const first = 9 * Math.min(k, channels - 1);
      let light = AMBIENT * BAND0;
      for (let n = 0; n < 9; n++) light += illumination[first + n] * basis[n];
      out[at + k] = albedo[at + k] * light;
    }
  }
  return out;
}

// One identity for several photos of one person: the mean, weighed number by number by C-Net's confidences where each
// photo has them.
export function aggregate(identities, confidences) {
  const known = confidences.every(Boolean);
  return Float32Array.from(identities[0], (_, k) => {
    let sum = 0, total = 0;
    identities.forEach((identity, photo) => {
      const weight = known ? confidences[photo][k] : 1;
      sum += weight * identity[k];
      total += weight;
    });
    return sum / Math.max(total, LEAST);
  });
}

// sRGB in [0, 1] as linear light, clipped.
export function linearLight(colors) {
  return colors.map((value) => {
    const srgb = Math.min(Math.max(value, 0), 1);
    return srgb <= 0.04045 ? srgb / 12.92 : ((srgb + 0.055) / 1.055) ** 2.4;
  });
}
