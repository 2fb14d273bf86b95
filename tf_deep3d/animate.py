"""A clip in, one animated 3D face out: `python -m tf_deep3d.animate CLIP --out DIR`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tf_deep3d import command_line
from tf_deep3d.command_line import counted
from tf_deep3d.errors import readable
from tf_deep3d.reconstruction.options import add_options, library_files, load_reconstructor

if TYPE_CHECKING:
    from tf_deep3d.reconstruction.clip.results import ClipOutcome

EXAMPLES = """
examples:
  python -m tf_deep3d.animate talk.mp4 --out talk        writes talk/face.glb, overlay.mp4, texture.png, ...
  python -m tf_deep3d.animate frames/ --fps 30 --out talk     frames/1.png, 2.png, .. 10.png
  python -m tf_deep3d.animate talk.mp4 --out talk --max-frames 100 --smooth 0 --overwrite

The person who is seen most is followed; frames that show somebody else are told and count as frames without the face.
Those are filled in for up to half a second. The overlay has the clip's sound.
exit status: 0 if the face was written, 1 if not, 2 for a wrong command line.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command_line.run(_run, _parser().parse_args(arguments), interrupted="Interrupted; nothing was written.")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        "python -m tf_deep3d.animate", "Reconstructs the face of a video as a textured, animated 3D mesh.", EXAMPLES
    )
    parser.add_argument("clip", type=Path, metavar="CLIP", help="video file, or folder of frames")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--fps", type=float, metavar="N", help="frames a second of a folder (default: 25)")
    parser.add_argument("--max-frames", type=int, default=3000, metavar="N", help="end of the clip (default: 3000)")
    parser.add_argument("--smooth", type=float, default=0.06, metavar="S", help="seconds of smoothing (default: 0.06)")
    text = "what the face does where it is not seen: blend from the last pose to the next (default), or hold the last"
    parser.add_argument("--missing", choices=["blend", "hold"], default="blend", help=text)
    add_options(parser)
    parser.add_argument("--refine", type=int, metavar="N", help="steps of the fit of key frames after R-Net")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    return parser


def _run(options: argparse.Namespace) -> int:
    if not (options.clip.is_file() or options.clip.is_dir()):
        raise FileNotFoundError(f"a clip must be a regular file or a folder. Received: {str(options.clip)!r}")

    with command_line.quiet():
        from tf_deep3d.reconstruction.clip import clip as clips
        from tf_deep3d.reconstruction.clip import results

    settings = clips.ClipSettings(options.fps, options.max_frames, options.smooth, options.missing)
    with library_files(options), command_line.stages() as show:
        loaded = load_reconstructor(options, options.refine)
        outcome = results.reconstruct_clip(
            options.clip, options.out, settings, loaded.options, loaded.models, options.overwrite, show
        )
    print(_summary(options.clip, outcome))
    if outcome.cut:
        used = counted(outcome.frames, "frame")
        print(f"The clip is longer: only its first {used} counted, see --max-frames.", file=sys.stderr)
    return 0


def _summary(clip: Path, outcome: "ClipOutcome") -> str:
    text = (
        f"{readable(clip.name)} -> {outcome.folder}: {counted(outcome.frames, 'frame')}, {outcome.told()}; "
        f"landmarks {100 * outcome.landmark_error:.1f} % of the eye distance, "
        f"jitter {outcome.jitter[0]:.2f} px, smoothed {outcome.jitter[1]:.2f} px"
    )
    if outcome.blendshape_residual is not None:
        text += f"; blendshapes leave {100 * outcome.blendshape_residual:.2f} mm of the expression"
    return text


if __name__ == "__main__":
    sys.exit(main())
