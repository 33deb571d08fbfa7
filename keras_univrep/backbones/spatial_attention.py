"""Where in an image a network is active."""

import keras
import numpy as np


def spatial_attention(network: keras.Model, images: np.ndarray, finer: int = 1) -> np.ndarray:
    """Returns the mean squared activation of a network at each position of its maps.

    Equation:
        The attention map Q of li2022, section 5.5, from Zagoruyko and Komodakis, 2017; for the map
        F of an image, of c channels, at row u and column v:

            A(u, v) = 1 / c sum_k F_k(u, v)^2

        | symbol | here | shape |
        |---|---|---|
        | F | outputs of `network` | (images, h, w, channels) |
        | A | what is returned | (images, h finer, w finer) |

    Differences: shu2021 prints attention maps of its flows (figure 11), and not how it computes
        them. Small images have maps of few positions: `finer` moves the image by parts of a
        position, its border being its reflection, and puts the maps of all the moves between each
        other, as OverFeat does. Each value is that of the same network, at more places.

    Args:
        network: A model of images that returns maps (batch, h, w, channels), such as a backbone
            with `pooling=None`.
        images: What the network takes, (images, height, width, channels).
        finer: How many moves there are along either axis, at most the pixels of a position.

    Returns:
        NumPy array of float32, (images, h finer, w finer), not negative.

    Raises:
        ValueError: If the network does not return maps, or `finer` is out of range.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import Conv4, spatial_attention
        >>> network, images = Conv4(4, pooling=None), np.ones((2, 32, 32, 3), "float32")
        >>> spatial_attention(network, images).shape
        (2, 2, 2)
        >>> spatial_attention(network, images, finer=4).shape
        (2, 8, 8)

    References:
        - Zagoruyko, Komodakis. Paying more attention to attention. ICLR 2017.
        - Sermanet, Eigen, Zhang, Mathieu, Fergus, LeCun. OverFeat. ICLR 2014.
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """
    images = np.asarray(images)
    first = _attention(network, images)
    height, width = images.shape[1:3]
    # Pixels of a position.
    cells = height / first.shape[1], width / first.shape[2]
    if isinstance(finer, bool) or not isinstance(finer, int) or not 1 <= finer <= min(cells):
        raise ValueError(
            f"`finer` must be an integer from 1 to the pixels of a position, {min(cells):g}. "
            f"Received: finer={finer!r}. Pass 1 for the positions of the maps."
        )
    if finer == 1:
        return first
    pads = [int(np.ceil(cell / 2)) for cell in cells]
    bordered = np.pad(images, [(0, 0), *((pad, pad) for pad in pads), (0, 0)], "reflect")
    found = np.empty((len(images), first.shape[1] * finer, first.shape[2] * finer), "float32")
    # The move that puts the middle of a position into the middle of each of its parts.
    rows, columns = (
        [pad + round(((place + 0.5) / finer - 0.5) * cell) for place in range(finer)]
        for pad, cell in zip(pads, cells)
    )
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            moved = bordered[:, row : row + height, column : column + width]
            found[:, i::finer, j::finer] = _attention(network, moved)
    return found


def _attention(network: keras.Model, images: np.ndarray) -> np.ndarray:
    maps = np.asarray(network.predict_on_batch(images), "float32")
    if maps.ndim != 4:
        raise ValueError(
            "`network` must return maps (batch, h, w, channels). Received: outputs of shape "
            f"{maps.shape}. Build it with `pooling=None`."
        )
    return np.square(maps).mean(axis=-1)  # li2022 section 5.5
