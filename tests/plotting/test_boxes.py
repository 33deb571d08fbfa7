import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

from keras_univrep.plotting import plot_boxes

IMAGES = np.full((2, 12, 16, 3), 137, "uint8")
OBJECTS = {
    "boxes": np.array([[[1, 2, 9, 10], [3, 3, 6, 6]], [[0, 0, 16, 12], [0, 0, 0, 0]]]),
    "labels": np.array([[1, 0], [0, -1]]),
    "scores": np.array([[0.87, 0.1], [0.5, 0.9]]),
}


@pytest.fixture
def drawn(monkeypatch):
    """Of each picture of the last figure: boxes and texts."""
    found = []
    save = matplotlib.figure.Figure.savefig

    def spy(figure, *args, **options):
        found[:] = [
            ([p.get_bbox().bounds for p in axis.patches], [t.get_text() for t in axis.texts])
            for axis in figure.axes
        ]
        return save(figure, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", spy)
    return found


def test_boxes_stand_where_they_are_with_names_and_scores(tmp_path, drawn):
    path = plot_boxes(tmp_path / "b.png", IMAGES, OBJECTS, ["cell", "plate"])
    assert drawn == [
        ([(1, 2, 8, 8)], ["plate 87"]),
        ([(0, 0, 16, 12)], ["cell 50"]),
    ]
    colours = {tuple(p) for p in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)}
    assert (137, 137, 137) in colours and (0xE6, 0x19, 0x4B) in colours
    assert [p.name for p in tmp_path.iterdir()] == ["b.png"]


def test_true_boxes_come_without_names_and_all_of_them(tmp_path, drawn):
    truths = {name: OBJECTS[name] for name in ("boxes", "labels")}
    plot_boxes(tmp_path / "b.png", IMAGES, OBJECTS, truths=truths, score_threshold=0.6, columns=1)
    assert drawn[0] == ([(1, 2, 8, 8), (3, 3, 3, 3), (1, 2, 8, 8)], ["1 87"])
    assert drawn[1] == ([(0, 0, 16, 12)], [])


def test_masks_tint_their_pixels_alone(tmp_path):
    def tinted(masks):
        path = plot_boxes(tmp_path / "b.png", IMAGES[:1], masks=masks)
        picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
        return int((np.ptp(picture, axis=-1) > 30).sum())

    masks = np.full((1, 12, 16), -1)
    assert tinted(masks) == 0
    masks[0, :, :8] = 2
    half = tinted(masks)
    masks[:] = 2
    assert tinted(masks) == pytest.approx(2 * half, rel=0.1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"objects": {**OBJECTS, "labels": OBJECTS["labels"][:1]}},
        {"objects": {**OBJECTS, "scores": OBJECTS["scores"][:, :1]}},
        {"masks": np.zeros((2, 12, 15), int)},
        {"objects": OBJECTS, "class_names": ["cell"]},
        {"columns": 0},
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, arguments):
    with pytest.raises(ValueError, match="Received: "):
        plot_boxes(tmp_path / "b.png", IMAGES, **arguments)
    assert not list(tmp_path.iterdir())
