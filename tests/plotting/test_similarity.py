import numpy as np
from PIL import Image

from keras_univrep.plotting import plot_similarity


def test_the_map_darkens_where_the_similarity_is_low(tmp_path):
    def mean(value):
        path = plot_similarity(tmp_path / "s.png", {"net": {"a": value, "b": value}}, "CKA")
        return np.asarray(Image.open(path).convert("L")).astype(float).mean()

    assert mean(0.05) < mean(0.95)
    assert [path.name for path in tmp_path.iterdir()] == ["s.png"]
