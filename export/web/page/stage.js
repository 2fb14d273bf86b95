// Shows the face with three.js: over its photo, in the camera of the aligned picture, or alone, to be turned.
//
// The meshes of three.js are made once, of a GLB of ours, and their numbers change from then on; positions are in dm.

import { linearLight } from "./face.js";
import { writeGlb } from "./glb.js";
import { inverse, matrixOf } from "./similarity.js";

const NEAR = 1, FAR = 30;  // dm, of the camera over the photo
const SHARP = 2;  // px drawn for each px of the layout in both directions, which smooths edges at less cost than the graphics do
const LIVE_SIDE = 640;  // px at most, of what is drawn for each picture of a camera
const CLAY = 0xb9aea2;
const AMBIENT = 2.2, LAMP = 1.3;

export async function openStage(place, canvas, picture, model) {
  const three = globalThis.THREE;
  const renderer = new three.WebGLRenderer({ canvas, alpha: true });
  const scene = new three.Scene();
  const orbit = new three.PerspectiveCamera(24, 1, 0.5, 60), over = new three.PerspectiveCamera();
  const lamp = new three.DirectionalLight(0xffffff, LAMP), ambient = new three.AmbientLight(0xffffff, AMBIENT);
  const controls = new three.OrbitControls(orbit, canvas);
  const mesh = await meshOf(three, model);
  const unlit = mesh.material, common = { side: unlit.side, transparent: true };  // its colours have the photo's light
  const own = new three.MeshStandardMaterial({ vertexColors: true, roughness: 0.9, ...common });
  const clay = new three.MeshStandardMaterial({ color: CLAY, roughness: 0.75, ...common });
  unlit.transparent = true;
  mesh.matrixAutoUpdate = false;
  mesh.frustumCulled = false;
  lamp.position.set(-4, 7, 10);
  orbit.add(lamp);
  scene.add(mesh, orbit, ambient);
  controls.enableDamping = false;
  controls.listenToKeyEvents(canvas);

  const shown = { over: true, clay: false, opacity: 1, face: null };
  let waiting = false;
  const redraw = () => {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  };

  function draw() {
    waiting = false;
    const { face } = shown;
    canvas.hidden = !face;
    picture.hidden = !face || !shown.over;
    place.classList.toggle("over", shown.over);
    place.classList.toggle("mirrored", Boolean(face?.live) && shown.over);
    if (!face) return;
    mesh.material = shown.clay ? clay : shown.over ? unlit : own;
    mesh.material.opacity = shown.over ? shown.opacity : 1;
    setNumbers(mesh.geometry.attributes.color, linearLight(shown.over ? face.colors : face.albedo));
    if (shown.over) {
      const [[a, b, c], [d, e, f], [g, h, i]] = face.rotation, [x, y, z] = face.translation;
      mesh.matrix.set(a, b, c, x, d, e, f, y, g, h, i, z, 0, 0, 0, 1);
    } else {
      mesh.matrix.identity();
    }
    mesh.matrixWorldNeedsUpdate = true;
    fit(face);
    renderer.render(scene, shown.over ? over : orbit);
  }

  function fit({ size, transform, live }) {  // the drawing has the shape of the place, or of the photo within it
    const { clientWidth: width, clientHeight: height } = place;
    const scale = Math.min(width / size[0], height / size[1]);
    const drawn = shown.over ? [size[0] * scale, size[1] * scale] : [width, height];
    const ratio = live ? Math.min(devicePixelRatio, LIVE_SIDE / Math.max(...drawn)) : SHARP;
    const [across, down] = drawn.map((length) => Math.max(Math.round(length * ratio), 1));
    if (canvas.width !== across || canvas.height !== down) renderer.setSize(across, down, false);
    if (shown.over) {
      over.position.set(0, 0, model.camera.distance);
      over.projectionMatrix.set(...projection(transform, size, model));
      over.projectionMatrixInverse.copy(over.projectionMatrix).invert();
    } else {
      orbit.aspect = width / Math.max(height, 1);
      orbit.updateProjectionMatrix();
    }
  }

  function front() {
    const half = Math.tan((orbit.fov * Math.PI) / 360);
    const { clientWidth, clientHeight } = place;
    const away = 1.25 / Math.min(clientWidth / Math.max(clientHeight, 1), 1) / half + 1;
    orbit.position.set(0, 0, away);
    controls.target.set(0, 0, 0);
    controls.update();
    redraw();
  }

  controls.addEventListener("change", redraw);
  new ResizeObserver(redraw).observe(place);
  front();
  return {
    front,
    set(options) {
      Object.assign(shown, options);
      redraw();
    },
    // face: { shape, normals (unposed), albedo, colors (lit, posed), rotation, translation, transform, size, live }.
    show(face) {
      shown.face = face;
      if (face) {
        setNumbers(mesh.geometry.attributes.position, face.shape);
        setNumbers(mesh.geometry.attributes.normal, face.normals);
      }
      redraw();
    },
  };
}

async function meshOf(three, model) {
  const up = Float32Array.from(model.meanShape, (_, i) => Number(i % 3 === 2));
  const face = { name: model.name, vertices: model.meanShape, normals: up, colors: model.meanAlbedo, triangles: model.triangles, unlit: true };
  const file = await new three.GLTFLoader().parseAsync(writeGlb(face).buffer, "");
  let mesh;
  file.scene.traverse((node) => { mesh = node.isMesh ? node : mesh; });
  return mesh;
}

function setNumbers(attribute, values) {
  attribute.array.set(values);
  attribute.needsUpdate = true;
}

// The projection, row by row, from the world before the camera of the aligned picture onto a photo of `size` px that
// `transform` maps to the aligned picture: u = cx + f x / d, v = cy - f y / d, then the way back into the photo.
function projection(transform, [width, height], { camera: { focal, center: [cx, cy] } }) {
  const [a, b, c, d, e, f] = matrixOf(inverse(transform));
  const depth = (FAR + NEAR) / (FAR - NEAR), shift = (2 * FAR * NEAR) / (FAR - NEAR);
  return [
    (2 / width) * a * focal, (-2 / width) * b * focal, 1 - (2 / width) * (a * cx + b * cy + c), 0,
    (-2 / height) * d * focal, (2 / height) * e * focal, (2 / height) * (d * cx + e * cy + f) - 1, 0,
    0, 0, -depth, -shift,
    0, 0, -1, 0,
  ];
}
