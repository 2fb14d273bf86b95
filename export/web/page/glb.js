// Writes a face as binary glTF 2.0, as tf_deep3d/mesh/gltf.py does: metres, y up, the 52 units as morph targets.

const METRES = 0.1;  // in a dm
const RESOLUTION = 2 ** -17;  // m; displacements are whole multiples, which pack better
const SMALLEST = 1e-5;  // dm; a morph target leaves vertices that move less where they are
const FLOAT = 5126, SHORT = 5123, INT = 5125, VERTICES = 34962, INDICES = 34963;

// A file, Uint8Array. face: { name, licence, vertices [3 V] dm, normals [3 V], colors [3 V] linear light, triangles [3 T],
// targets: [{ name, weight, displacements [3 V] dm }], arkit: weights of ARKit's units by name, for the file to carry,
// unlit: whether the colours are shown as they are }.
export function writeGlb({ name, licence, vertices, normals, colors, triangles, targets = [], arkit, unlit }) {
  const parts = [], bufferViews = [], accessors = [];
  let length = 0;
  const addView = (values, target) => {
    bufferViews.push({ buffer: 0, byteOffset: length, byteLength: values.byteLength, ...(target && { target }) });
    parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), new Uint8Array(-values.byteLength & 3));
    length += (values.byteLength + 3) & ~3;
    return bufferViews.length - 1;
  };
  const addAccessor = (accessor) => accessors.push(accessor) - 1;
  const addVectors = (values, bounds) =>
    addAccessor({
      bufferView: addView(values, VERTICES), componentType: FLOAT, count: values.length / 3, type: "VEC3",
      ...(bounds && boundsOf(values)),
    });
  const narrow = (numbers) => maximum(numbers) < 65535
    ? [Uint16Array.from(numbers), SHORT] : [Uint32Array.from(numbers), INT];

  const attributes = {
    POSITION: addVectors(vertices.map((value) => value * METRES), true),
    NORMAL: addVectors(normals.map((value, i) => unitOf(normals, value, i))),
    COLOR_0: addVectors(colors),
  };
  const [corners, cornerType] = narrow(triangles);
  const indices = addAccessor({
    bufferView: addView(corners, INDICES), componentType: cornerType, count: corners.length, type: "SCALAR",
  });
  const morphs = targets.map(({ displacements }) => {
    const moved = [];
    for (let v = 0; v < displacements.length / 3; v++)
      if (Math.hypot(displacements[3 * v], displacements[3 * v + 1], displacements[3 * v + 2]) >= SMALLEST) moved.push(v);
    const values = new Float32Array(displacements.length);
    for (const v of moved)
      for (let i = 3 * v; i < 3 * v + 3; i++) values[i] = Math.round(displacements[i] * (METRES / RESOLUTION)) * RESOLUTION;
    if (2 * moved.length >= displacements.length / 3) return { POSITION: addVectors(values, true) };
    const accessor = { componentType: FLOAT, count: values.length / 3, type: "VEC3", ...boundsOf(values) };
    if (moved.length) {
      const [rows, rowType] = narrow(moved);
      const kept = Float32Array.from({ length: 3 * moved.length }, (_, i) => values[3 * moved[Math.floor(i / 3)] + (i % 3)]);
      accessor.sparse = {
        count: moved.length, indices: { bufferView: addView(rows), componentType: rowType }, values: { bufferView: addView(kept) },
      };
    }
    return { POSITION: addAccessor(accessor) };
  });
  const mesh = { name, primitives: [{ attributes, indices, material: 0, ...(morphs.length && { targets: morphs }) }] };
  if (morphs.length) {
    mesh.weights = targets.map(({ weight }) => weight ?? 0);
    mesh.extras = { targetNames: targets.map((target) => target.name), ...(arkit && { arkit }) };
  }
  const tree = {
    asset: { version: "2.0", generator: "tf_deep3d", ...(licence && { copyright: licence }) },
    scene: 0, scenes: [{ nodes: [0] }], nodes: [{ name, mesh: 0 }], meshes: [mesh],
    materials: [{
      name, doubleSided: true, pbrMetallicRoughness: { metallicFactor: 0, roughnessFactor: 0.9 },
      ...(unlit && { extensions: { KHR_materials_unlit: {} } }),
    }],
    ...(unlit && { extensionsUsed: ["KHR_materials_unlit"] }),
    accessors, bufferViews, buffers: [{ byteLength: length }],
  };
  return joined(new TextEncoder().encode(JSON.stringify(tree)), parts, length);
}

function joined(text, parts, length) {
  const json = (text.length + 3) & ~3, file = new Uint8Array(28 + json + length), head = new DataView(file.buffer);
  [0x46546c67, 2, file.length, json, 0x4e4f534a].forEach((word, k) => head.setUint32(4 * k, word, true));
  file.fill(32, 20, 20 + json);
  file.set(text, 20);
  [length, 0x004e4942].forEach((word, k) => head.setUint32(20 + json + 4 * k, word, true));
  let at = 28 + json;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}

const maximum = (numbers) => numbers.reduce((most, value) => Math.max(most, value), 0);

function boundsOf(values) {
  const min = [Infinity, Infinity, Infinity], max = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    min[i % 3] = Math.min(min[i % 3], values[i]);
    max[i % 3] = Math.max(max[i % 3], values[i]);
  }
  return { min, max };
}

function unitOf(normals, value, i) {  // (0, 0, 1) where there is none, because glTF demands unit length
  const first = i - (i % 3), length = Math.hypot(normals[first], normals[first + 1], normals[first + 2]);
  return length > 1e-6 ? value / length : Number(i % 3 === 2);
}
