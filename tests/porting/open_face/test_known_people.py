"""What the modifiers say of people."""

import numpy as np

from tf_deep3d.porting.open_face import known_people, shape


class Targets:
    targets = ("nose/nose-width-decr", "nose/nose-width-incr", "cheek/l-cheek-bones-decr", "cheek/l-cheek-bones-incr")


def test_labels_are_the_shares_that_made_the_weights():
    names = shape.identity_targets(Targets)
    weights = np.zeros((2, len(names)))
    weights[0, names.index("macrodetails/asian-female-young")] = 0.75
    weights[0, names.index("macrodetails/african-male-old")] = 0.25
    weights[:, names.index("macrodetails/universal-male-young-maxmuscle-minweight")] = 9  # says nothing of these
    told = known_people.labels(names, weights)
    np.testing.assert_allclose(told["male"], [0.25, 0])
    np.testing.assert_allclose(told["race"], [[0.25, 0.75, 0], [0, 0, 0]])
    np.testing.assert_allclose(told["age"], [[0, 0.75, 0.25], [0, 0, 0]])


def test_shares_of_random_people_add_up():
    names = shape.identity_targets(Targets)
    weights = shape.sample_people(names, 200, np.random.default_rng(0))
    told = known_people.labels(names, weights)
    np.testing.assert_allclose(told["race"].sum(1), 1, atol=1e-9)
    np.testing.assert_allclose(told["age"].sum(1), 1, atol=1e-9)
    assert 0.4 < told["male"].mean() < 0.6
