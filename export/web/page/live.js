// One person before the camera, from picture to picture.

const LOOK = 12;  // pictures from one that the network reads to the next; between them the landmarks tell the rest
const MEMORY = 20;  // readings that the person is averaged over

// A function of photos that gives { photo, face (`runtime.js`), identity, time in ms, rate in pictures a second }, or null
// where no face is in view.
export function follower(runtime) {
  let face = null, count = 0, sums = null, weights = null, identity = null, person = null, recent = [];
  const add = ({ coefficients: { identity: found }, confidence }) => {  // to a running mean, weighed by the confidences
    const trust = confidence ?? found.map(() => 1), keep = 1 - 1 / MEMORY;
    sums = found.map((value, k) => keep * (sums?.[k] ?? 0) + trust[k] * value);
    weights = found.map((_, k) => keep * (weights?.[k] ?? 0) + trust[k]);
    identity = sums.map((sum, k) => sum / weights[k]);
    person = runtime.person(identity);
  };
  return async (photo) => {
    const begin = performance.now(), look = count % LOOK === 0;
    const last = face;
    face = last ? await runtime.follow(photo, last, person, look) : await runtime.find(photo);
    if (!face) {
      count = 0;
      sums = weights = null;
      return null;
    }
    if (face.coefficients !== last?.coefficients) add(face);
    count++;
    recent = [...recent, begin].filter((time) => begin - time <= 1000);
    return { photo, face, identity, time: performance.now() - begin, rate: recent.length };
  };
}
