import numpy as np
import pytest
from PIL import Image

from keras_univrep.plotting import plot_neighbours


def _solid(colour, count):
    return np.broadcast_to(np.array(colour, "uint8"), (count, 8, 8, 3))


def test_the_picture_shows_the_nearest_image_of_each_domain(tmp_path):
    images = {
        "a": np.concatenate([_solid([255, 0, 0], 1), _solid([0, 255, 0], 1)]),
        "b": np.concatenate([_solid([0, 0, 255], 1), _solid([255, 255, 0], 1)]),
    }
    features = {"a": np.array([[1.0, 0.0], [0.0, 1.0]]), "b": np.array([[0.0, 2.0], [3.0, 0.1]])}
    path = plot_neighbours(tmp_path / "n.png", images, features, [("a", 0)], neighbours=1)
    colours = {tuple(pixel) for pixel in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)}
    # The query is red; nearest but itself in a is green, and in b the yellow one.
    assert {(255, 0, 0), (0, 255, 0), (255, 255, 0)} <= colours
    assert (0, 0, 255) not in colours


def test_features_of_other_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one feature for each image"):
        plot_neighbours(tmp_path / "n.png", {"a": _solid([1, 2, 3], 2)}, {"a": np.ones((3, 4))}, [])
    assert not list(tmp_path.iterdir())
