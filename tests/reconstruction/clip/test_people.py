"""Telling the people of a clip apart, by descriptors that the test chooses."""

from types import SimpleNamespace

import numpy as np
import pytest

from tf_deep3d.reconstruction.clip.people import KEPT, PERIOD, People, spread

JANE, JOHN, BLURRED = np.eye(3)
DARK, LIGHT = np.full((60, 80, 3), 40, np.uint8), np.full((60, 80, 3), 200, np.uint8)


def face(descriptor, x=0.0):
    """A face at x, 36 px wide from eye to eye."""
    landmarks = np.stack([np.linspace(0, 80, 68), np.zeros(68)], -1)
    landmarks[36], landmarks[45] = (10, 0), (46, 0)
    return SimpleNamespace(landmarks68=landmarks + np.array([x, 0]), descriptor=descriptor)


@pytest.fixture
def people():
    asked = []

    def describe(image, found):
        asked.append(found)
        return found.descriptor

    people = People(describe)
    people.asked = asked
    return people


def watch(people, frames, start=0):
    """The number of the person in each of `frames` (picture, face or None), 25 a second."""
    numbers = []
    for index, (image, found) in enumerate(frames, start):
        person = people.whose(index / 25, image, found)
        numbers.append(None if person is None else next(n for n, other in enumerate(people.seen) if other is person))
        if person is not None:
            person.add(index, lambda index=index: index)
    return numbers


def test_a_face_that_moves_on_is_not_looked_at_again_before_the_period_is_over(people):
    assert watch(people, [(DARK, face(JANE, x)) for x in range(25)]) == [0] * 25
    assert len(people.asked) == 1
    watch(people, [(DARK, face(JANE, 25.0))], start=round(25 * PERIOD))
    assert len(people.asked) == 2


def test_a_cut_to_somebody_else_in_the_same_place_is_noticed(people):
    frames = [(DARK, face(JANE))] * 5 + [(LIGHT, face(JOHN))] * 3 + [(DARK, face(JANE))] * 2
    assert watch(people, frames) == [0] * 5 + [1] * 3 + [0] * 2
    (followed,) = people.followed()
    assert followed.frames == [0, 1, 2, 3, 4, 8, 9]


def test_a_jump_and_a_gap_are_looked_at(people):
    frames = [(DARK, face(JANE)), (DARK, face(JOHN, 40.0)), (DARK, None), (DARK, face(JANE, 40.0))]
    assert watch(people, frames) == [0, 1, None, 0]


def test_somebody_who_steps_in_front_is_noticed_within_the_period(people):
    watch(people, [(DARK, face(JANE))] * 5 + [(LIGHT, face(JOHN))] * 3 + [(DARK, face(JANE))] * 30)
    moving = watch(people, [(DARK, face(JOHN))] * 60, start=38)
    assert moving[0] == 0
    assert moving[round(25 * PERIOD) :] == [1] * (60 - round(25 * PERIOD))


def test_a_known_face_that_turns_away_stays_the_same_person_s(people):
    numbers = watch(people, [(DARK, face(JANE))] * 5 + [(DARK, face(BLURRED))] * 60)
    assert numbers == [0] * 65
    assert len(people.seen) == 1


def test_the_person_seen_most_is_preferred_and_else_the_largest_face(people):
    jane, john = face(JANE), face(JOHN)
    assert people.prefer(DARK, [john, jane]) is john
    watch(people, [(DARK, jane)] * 3)
    assert people.prefer(DARK, [john, jane]) is jane
    assert people.prefer(DARK, [john, face(BLURRED)]) is john


def test_what_is_kept_is_few_and_evenly_spread(people):
    watch(people, [(DARK, face(JANE))] * 200)
    (jane,) = people.seen
    assert len(jane.frames) == 200
    assert len(jane.kept) <= KEPT
    chosen = [number for number, _ in spread(people.seen, 3)]
    assert len(chosen) == 3
    assert (chosen[0], chosen[-1]) == (jane.kept[0][0], jane.kept[-1][0])
    steps = np.diff([number for number, _ in jane.kept])
    assert (steps == steps[0]).all()
