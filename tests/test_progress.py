from tf_deep3d import progress


def test_each_stage_has_its_bar(capsys, monkeypatch):
    made = []

    class Bar:
        def __init__(self, desc, total, disable):
            self.desc, self.total, self.n, self.closed = desc.strip(), total, 0, 0
            made.append(self)

        def update(self, steps):
            self.n += steps

        def close(self):
            self.closed += 1

    monkeypatch.setattr(progress, "tqdm", Bar)
    with progress.stages() as show:
        show("looking", 1, 4)
        show("looking", 4, 4)
        assert made[0].closed == 1
        show("writing", 2, None)
        assert not made[1].closed
    assert [(bar.desc, bar.n, bar.total) for bar in made] == [("looking", 4, 4), ("writing", 2, None)]
    assert all(bar.closed for bar in made)


def test_an_error_closes_the_bars(capsys):
    try:
        with progress.stages() as show:
            show("looking", 1, 2)
            raise KeyError("lost")
    except KeyError:
        pass
    show("looking", 2, 2)  # a closed bar takes no harm
    assert "Traceback" not in capsys.readouterr().err
