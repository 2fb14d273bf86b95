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
  const next = () => new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
  const work = async () => {
    while (on) {
      await next();
      if (on) await look(pixelsOf(video, video.videoWidth, video.videoHeight, SIDE, canvas));
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
