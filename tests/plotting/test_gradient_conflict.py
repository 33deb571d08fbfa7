import matplotlib.figure
import numpy as np
import pytest

from keras_univrep.plotting import plot_gradient_conflict


@pytest.fixture
def axis(monkeypatch):
    """The axis of the last figure, in a list."""
    found = []
    save = matplotlib.figure.Figure.savefig

    def spy(figure, *args, **options):
        found[:] = figure.axes
        return save(figure, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", spy)
    return found


def _line(axis, start):
    return next(line for line in axis[0].get_lines() if line.get_label().startswith(start))


def test_each_pair_has_its_line_and_zero_is_marked(tmp_path, axis):
    cosines = {("depth", "normals"): [0.5, -0.5, -0.25, np.nan], "other": [1.0, 0.0, 0.0, 0.5]}
    path = plot_gradient_conflict(tmp_path / "c.png", cosines)
    assert [p.name for p in tmp_path.iterdir()] == ["c.png"] and path.stat().st_size > 0
    line = _line(axis, "depth, normals")
    assert line.get_label() == "depth, normals (67 % below 0)"
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(line.get_ydata(), cosines["depth", "normals"])
    assert _line(axis, "other").get_label() == "other (0 % below 0)"
    zero = [line for line in axis[0].get_lines() if set(line.get_ydata()) == {0.0}]
    assert len(zero) == 1 and zero[0].get_color() == "black"


def test_line_averages_the_last_steps(tmp_path, axis):
    cosines = {"a, b": [1.0, 0.0, -1.0, -1.0]}
    plot_gradient_conflict(tmp_path / "c.png", cosines, [10, 20, 30, 40], 2, "epoch", "a title")
    line = _line(axis, "a, b")
    np.testing.assert_array_equal(line.get_xdata(), [20, 30, 40])
    np.testing.assert_allclose(line.get_ydata(), [0.5, -0.5, -1.0])
    assert axis[0].get_xlabel() == "epoch (average of the last 2)"
    assert axis[0].get_title() == "a title"
    assert [1.0, 0.0, -1.0, -1.0] in [list(other.get_ydata()) for other in axis[0].get_lines()]


@pytest.mark.parametrize(
    ("cosines", "options", "received"),
    [
        ({}, {}, r"\{\} for 0 steps"),
        ({"a": []}, {}, "for 0 steps"),
        ({"a": [0.0], "b": [0.0, 0.1]}, {}, "for 1 steps"),
        ({"a": [0.0]}, {"steps": [1, 2]}, "for 2 steps"),
        ({"a": [0.0, 1.5]}, {}, r"\{'a': \[1.5\]\}"),
        ({"a": [0.0, 1.0]}, {"window": 3}, "window=3"),
        ({"a": [0.0, 1.0]}, {"window": 0}, "window=0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, cosines, options, received):
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        plot_gradient_conflict(tmp_path / "c.png", cosines, **options)
    assert not list(tmp_path.iterdir())
