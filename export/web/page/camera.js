// The camera: one picture after the other, each as soon as the last one is done.

const SIDE = 640;  // px at most, of the pictures that are looked at

// Calls `look` with photos (`pixels.js`) until the returned function is called. Throws where there is no camera.
export async function openCamera(canvas, look) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: false, video: { facingMode: "user", width: { ideal: SIDE }, height: { ideal: 480 } },
  });
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = stream;
  await video.play();
  let on = true;
  const arrival = () => new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
  const work = async () => {
    for (let next = arrival(); on;) {
      await next;
      next = arrival();  // one that comes while this one is looked at is not waited for again
      if (on) await look((await copyOf(video)) ?? pixelsOf(video, video.videoWidth, video.videoHeight, SIDE, canvas));
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

// The pixels of a video, without a canvas, which would wait until the graphics have drawn the face; null where the browser
// cannot give them so, or the picture is too large.
async function copyOf(video) {
  const { videoWidth: width, videoHeight: height } = video, format = "RGBA", size = 4 * width * height;
  if (!globalThis.VideoFrame || Math.max(width, height) > SIDE) return null;
  const frame = new VideoFrame(video);
  try {
    if (frame.visibleRect?.width !== width || frame.allocationSize({ format }) !== size) return null;
    const data = new Uint8ClampedArray(size);
    await frame.copyTo(data, { format });
    return new ImageData(data, width, height);
  } catch (error) {
    if (error.name === "NotSupportedError") return null;
    throw error;
  } finally {
    frame.close();
  }
}

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
