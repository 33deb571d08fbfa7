import numpy as np
from PIL import Image

from keras_univrep.plotting import plot_attention


def test_weights_of_either_sign_have_either_colour(tmp_path):
    def colours(sign):
        blocks = [np.zeros((3, 4)), sign * np.ones((3, 2))]
        path = plot_attention(tmp_path / "a.png", blocks, "weights")
        image = np.asarray(Image.open(path).convert("RGB")).astype(float)
        reds, blues = image[..., 0] - image[..., 2] > 50, image[..., 2] - image[..., 0] > 50
        return int(reds.sum()), int(blues.sum())

    (red, blue), (other_red, other_blue) = colours(-1.0), colours(1.0)
    # The colour bar has both; the tasks' half of the picture has one.
    assert red > 2 * other_red and other_blue > 2 * blue
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
