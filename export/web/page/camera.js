// The camera: one picture after the other, each as soon as the last one is done.

const SIDE = 640;  // px at most, of the pictures that are looked at

// Calls `look` with photos (`pixels.js`) until `stop` is called. Throws where there is no camera.
export async function openCamera(canvas, look) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: false, video: { facingMode: "user", width: { ideal: SIDE }, height: { ideal: 480 } },
  });
  const take = globalThis.MediaStreamTrackProcessor ? framesOf(stream, canvas) : await picturesOf(stream, canvas);
  let on = true;
  const work = async () => {
    while (on) {
      const photo = await take();
      if (!photo || !on) break;
      await look(photo);
      await painted();
    }
  };
  return {
    done: work(),
    stop() {
      on = false;
      for (const track of stream.getTracks()) track.stop();
    },
  };
}

// A function that gives the newest picture as soon as there is one, or null at the end: as the camera sends it, so that
// nothing waits until the graphics have drawn the last face.
function framesOf(stream, canvas) {
  const [track] = stream.getVideoTracks(), frames = new MediaStreamTrackProcessor({ track }).readable.getReader();
  return async () => {
    const { done, value: frame } = await frames.read();
    if (done) return null;
    try {
      return (await copyOf(frame)) ?? pixelsOf(frame, frame.displayWidth, frame.displayHeight, SIDE, canvas);
    } finally {
      frame.close();
    }
  };
}

// The same in browsers that show a camera's pictures, but do not hand them out.
async function picturesOf(stream, canvas) {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, playsInline: true, srcObject: stream });
  await video.play();
  return async () => {
    await new Promise((resolve) => {
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
      else requestAnimationFrame(resolve);
    });
    return pixelsOf(video, video.videoWidth, video.videoHeight, SIDE, canvas);
  };
}

// The pixels of a camera's frame without a canvas, or null where that needs one: it is turned, large, or not to be had so.
async function copyOf(frame) {
  const { displayWidth: width, displayHeight: height } = frame, format = "RGBA", size = 4 * width * height;
  if (frame.rotation || frame.flip || frame.visibleRect?.width !== width || Math.max(width, height) > SIDE) return null;
  try {
    if (frame.allocationSize({ format }) !== size) return null;
    const data = new Uint8ClampedArray(size);
    await frame.copyTo(data, { format });
    return new ImageData(data, width, height);
  } catch (error) {
    if (error.name === "NotSupportedError") return null;
    throw error;
  }
}

const painted = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));

// The pixels of anything that a canvas can draw, at most `side` px wide and high, on white; `canvas` shows them.
export function pixelsOf(source, width, height, side, canvas) {
  const scale = Math.min(side / Math.max(width, height), 1);
  canvas.width = Math.max(Math.round(width * scale), 1);
  canvas.height = Math.max(Math.round(height * scale), 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}
