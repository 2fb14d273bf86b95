// A photo becomes a face in the browser: the steps of export/device.py with LiteRT.js.

import { align, alignmentTransform } from "./alignment.js";
import * as detection from "./detection.js";
import { openActor, place, solve, withIdentity } from "./expression.js";
import { readModel, rotationMatrix, times } from "./face.js";
import { sample } from "./pixels.js";
import { apply } from "./similarity.js";
import { loadAndCompile, loadLiteRt, Tensor } from "./vendor/litert.min.js";

const HERE = new URL(".", import.meta.url);
const LITERT = "vendor/litert_wasm_compat_internal";
const CONFIDENCE = "confidence";
const GZIP = [0x1f, 0x8b];

// Loads everything: { model, find, follow, person, regress, run }. `report` is told a share in [0, 1] of what is loaded.
//
// What is found in a photo is { found (`detection.js`), transform from px of the photo to px of the aligned picture, size of
// the photo, coefficients, confidence, rotation, translation in the aligned picture, weights of the units or null }.
export async function openRuntime(report = () => {}) {
  const bytes = new Map();
  let done = 0;
  const get = async (name) => {
    bytes.set(name, await fetchBytes(name));
    report(++done / (files.length + 1));
  };
  const description = JSON.parse(new TextDecoder().decode(await fetchBytes("data/face.json")));
  const networks = [description.network, ...detection.FILES].map((file) => `data/${file}`);
  const files = ["data/face.bin.gz", `${LITERT}.wasm.gz`, ...networks];
  await Promise.all(files.map(get));
  const model = readModel(description, bytes.get("data/face.bin.gz"));
  const printErr = (text) => text.startsWith("INFO") || console.warn(text);  // not all that it tells is an error
  globalThis.Module = { wasmBinary: bytes.get(`${LITERT}.wasm.gz`), printErr };
  await loadLiteRt(new URL(`${LITERT}.js`, HERE).href);

  const compiled = new Map();  // file -> promise of the network; those that are seldom needed wait
  const open = (file) => {
    if (!compiled.has(file)) compiled.set(file, loadAndCompile(bytes.get(`data/${file}`), { accelerator: "wasm" }));
    return compiled.get(file);
  };
  const run = async (file, values) => largestFirst(Object.values(await execute(await open(file), values)));
  const regress = async (image) => {
    const { [CONFIDENCE]: confidence = null, ...coefficients } = await execute(await open(description.network), image);
    return { coefficients, confidence };
  };
  const actor = openActor(model);
  const pixelsIn = (transform, { points }) => points.flatMap((point) => apply(transform, point));
  const reconstruct = async (photo, found) => {
    const { image, transform } = align(photo, found.points5, model.input);
    const read = await regress(image), { angles, translation } = read.coefficients;
    const pose = { rotation: rotationMatrix(angles), translation: [...translation] };
    const weights = actor && solve(actor, { pixels: pixelsIn(transform, found), ...pose });
    return { found, transform, size: [photo.width, photo.height], ...read, ...pose, weights };
  };
  await Promise.all([open(description.network), open(detection.FILES[0]), open(detection.FILES[3])]);
  report(1);
  return {
    model, run, regress,
    find: async (photo) => {
      const found = await detection.nearest(photo, run);
      return found && reconstruct(photo, found);
    },
    // What `follow` knows of somebody with this identity.
    person: (identity) => actor && withIdentity(actor, identity),
    // The face `last` in the next picture of a camera: units and pose follow the landmarks of a `person`; all else is read
    // anew if `look`.
    follow: async (photo, last, person, look) => {
      const found = await detection.follow(photo, last.found, run);
      if (!found) return null;
      if (!actor) return reconstruct(photo, found);
      const transform = alignmentTransform(found.points5, model.input);
      const read = look ? await regress(sample(photo, transform, model.input.size)) : {};
      const turned = rotationMatrix([0, 0, last.transform.rotation - transform.rotation]);
      const frame = { ...last, pixels: pixelsIn(transform, found), rotation: times(turned, last.rotation) };
      const weights = solve(person, frame);
      return { ...last, ...read, found, transform, ...place(person, frame, weights), weights };
    },
  };
}

// The bytes of a file of the page, unpacked. Some servers unpack .gz themselves: then it does not begin like one.
async function fetchBytes(name) {
  const response = await fetch(new URL(name, HERE));
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (GZIP.some((byte, k) => bytes[k] !== byte)) return bytes;
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

// Runs a network of one input; name -> Float32Array of each output.
async function execute(network, values) {
  const [{ shape }] = network.getInputDetails();
  const input = new Tensor(values, Array.from(shape, (length) => Math.max(length, 1)));  // -1: any batch
  try {
    const outputs = await network.run([input]);
    const details = network.getOutputDetails(), answers = {};
    for (let k = 0; k < outputs.length; k++) {
      answers[details[k].name] = Float32Array.from(await outputs[k].data());
      outputs[k].delete();
    }
    return answers;
  } finally {
    input.delete();
  }
}

const largestFirst = (arrays) => arrays.sort((a, b) => b.length - a.length);
