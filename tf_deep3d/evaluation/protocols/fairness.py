"""For whom errors are larger: rendered people of known sex, and of known skin tone.

The crowd of `model_people`, each person from the front and turned, in light of its own. Skins and shapes are drawn
apart, so that the effect of one is not that of the other.
"""

from pathlib import Path

from tf_deep3d.data.rendered import people as rendered_people
from tf_deep3d.evaluation import model_people, open_benchmark
from tf_deep3d.evaluation.benchmark import Case, open_case
from tf_deep3d.evaluation.measuring import measure_view
from tf_deep3d.evaluation.protocols import Protocol
from tf_deep3d.face import morphable_model

VERSION = 1
FIRST, FIRST_SEED = 2000, 400  # number of the first person, of a person's first picture, for the seeds
PEOPLE = 80
YAWS = (0, 40)  # degrees


def fairness(members: int = PEOPLE) -> Protocol:
    """The protocol.

    Args:
      members: number of people, women and men by turns.

    Raises:
      open_benchmark.BenchmarkError: if there are fewer people.
    """
    model = morphable_model.load(level=1)
    people = list(model_people.crowd(model, rendered_people.load_head(model), members))
    entries = []
    for number, (who, sex) in enumerate(people):
        side = 1 if number // 2 % 2 else -1  # as many to the left as to the right of either sex
        poses = {f"{who.name}_yaw{yaw:02d}": (0.0, side * yaw, 0.0) for yaw in YAWS}
        tone = model_people.skin_tone(who)
        entries += [(view, sex, tone) for view in open_benchmark.views_at(FIRST + number, who, poses, FIRST_SEED)]

    entries.sort(key=lambda entry: list(model_people.SKIN_TONES).index(entry[2]))

    def make(entry: tuple[open_benchmark.View, str, str], pictures: Path) -> Case:
        view, sex, tone = entry
        path = open_case(view, pictures).photos[0]
        titles = (f"sex: {sex}", f"skin: {tone}")
        angles = tuple(view.angles.tolist())
        return Case(view.name, view.subject.name, angles, (path,), lambda given: measure_view(view, given), titles)

    tones = ", ".join(f"{name} {least}" for name, least in model_people.SKIN_TONES.items())
    remark = (
        f"{len(people)} people of the modifiers behind the face model; skin tones by the individual typology angle of "
        f"the albedo, from {tones} degrees."
    )
    return Protocol(
        f"open fairness {VERSION}.{open_benchmark.RENDERING}, {members} people", entries, make, remark, detail=1,
        brief=("plane_rmse", "nme_box", "pose", "albedo", "recognition"),
    )  # fmt: skip
