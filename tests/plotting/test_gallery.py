import numpy as np
import pytest
from PIL import Image

from keras_univrep.plotting import plot_gallery

GREEN, RED = (0, 160, 0), (208, 0, 0)
FEATURES = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]])
IMAGES = np.stack([np.full((8, 8, 3), v, "uint8") for v in (10, 60, 110, 160)])


def _colours(path):
    return {tuple(pixel) for pixel in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)}


@pytest.mark.parametrize(
    ("labels", "framed", "not_framed"), [([0, 0, 1, 1], GREEN, RED), ([0, 1, 0, 0], RED, GREEN)]
)
def test_the_nearest_but_the_query_is_framed_by_its_class(tmp_path, labels, framed, not_framed):
    path = plot_gallery(tmp_path / "g.png", IMAGES, FEATURES, np.array(labels), [0], neighbours=1)
    colours = _colours(path)
    assert framed in colours and not_framed not in colours
    assert (10, 10, 10) in colours and (60, 60, 60) in colours
    assert (110, 110, 110) not in colours


def test_right_and_wrong_stand_in_one_row(tmp_path):
    labels = np.array([0, 0, 1, 1])
    path = plot_gallery(tmp_path / "g.png", IMAGES, FEATURES, labels, [0, 3], 2, ["cat", "dog"])
    assert {GREEN, RED} <= _colours(path)


@pytest.mark.parametrize(
    ("labels", "queries", "neighbours"), [(3, [0], 1), (4, [], 1), (4, [0], 4)]
)
def test_what_does_not_belong_together_is_refused(tmp_path, labels, queries, neighbours):
    with pytest.raises(ValueError, match="Received: 4 images"):
        plot_gallery(
            tmp_path / "g.png", IMAGES, FEATURES, np.zeros(labels, int), queries, neighbours
        )
    assert not list(tmp_path.iterdir())
