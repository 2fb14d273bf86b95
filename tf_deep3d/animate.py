"""A clip in, one animated 3D face out: `python -m tf_deep3d.animate CLIP --out DIR`."""

import sys
from pathlib import Path

from tf_deep3d import command_line

EXAMPLES = """
examples:
  python -m tf_deep3d.animate talk.mp4 --out talk        writes talk/face.glb, overlay.mp4, texture.png, ...
  python -m tf_deep3d.animate frames/ --fps 30 --out talk     frames/1.png, 2.png, .. 10.png
  python -m tf_deep3d.animate talk.mp4 --out talk --max-frames 100 --smooth 0 --overwrite

The largest face is followed. A frame without a face is filled in from its neighbours for up to half a second.
exit status: 0 if the face was written, 1 if not, 2 for a wrong command line.
"""


def main(arguments=None):
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    return command_line.run(_run, options, interrupted="Interrupted; nothing was written.")


def _parser():
    parser = command_line.parser(
        prog="python -m tf_deep3d.animate",
        description="Reconstructs the face of a video as a textured, animated 3D mesh.",
        epilog=EXAMPLES,
    )
    parser.add_argument("clip", type=Path, metavar="CLIP", help="video file, or folder of frames")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--fps", type=float, metavar="N", help="frames a second of a folder (default: 25)")
    parser.add_argument("--max-frames", type=int, default=3000, metavar="N", help="end of the clip (default: 3000)")
    parser.add_argument("--smooth", type=float, default=0.06, metavar="S", help="seconds of smoothing (default: 0.06)")
    parser.add_argument(
        "--method",
        choices=["rnet", "fit"],
        help="how key frames are reconstructed; rnet is the default for the open face model, fit for others",
    )
    parser.add_argument("--weights", type=Path, metavar="RUN", help="folder of a training or .keras file, for rnet")
    parser.add_argument("--refine", type=int, metavar="N", help="steps of the fit of key frames after R-Net")
    parser.add_argument("--model", type=Path, metavar="NPZ", help="face model (default: the open face model)")
    parser.add_argument("--level", type=int, metavar="N", help="level of detail of the mesh (default: finest)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    return parser


def _run(options):
    if not options.clip.exists():
        raise FileNotFoundError(f"there is no such clip. Received: {str(options.clip)!r}")

    with command_line.quiet():
        from tf_deep3d.reconstruction import photo
        from tf_deep3d.reconstruction.clip import clip as clips
        from tf_deep3d.reconstruction.clip import results

    settings = clips.ClipSettings(options.fps, options.max_frames, options.smooth)
    chosen = {name: getattr(options, name) for name in ("model", "level", "overwrite", "weights")}
    method = options.method or ("fit" if options.model and not options.weights else "rnet")
    refine = photo.REFINE if options.refine is None else options.refine
    choice = photo.Options(**chosen, method=method, refine=refine)
    models = photo.load_models(choice)
    with command_line.stages() as show:
        outcome = results.reconstruct_clip(options.clip, options.out, settings, choice, models, show)
    print(_summary(options.clip, outcome))
    if outcome.cut:
        print(f"The clip is longer: only {outcome.frames} frames were used, see --max-frames.", file=sys.stderr)
    return 0


def _summary(clip, outcome):
    missing = outcome.frames - outcome.seen - outcome.filled
    text = (
        f"{clip.name} -> {outcome.folder}: {outcome.frames} frames, {outcome.filled} filled in, "
        f"{missing} without a face; "
        f"landmarks {100 * outcome.landmark_error:.1f} % of the eye distance, "
        f"jitter {outcome.jitter[0]:.2f} px, smoothed {outcome.jitter[1]:.2f} px"
    )
    if outcome.blendshape_residual is not None:
        text += f"; blendshapes leave {100 * outcome.blendshape_residual:.2f} mm of the expression"
    return text


if __name__ == "__main__":
    sys.exit(main())
