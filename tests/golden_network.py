"""The fixed weights and images with which the released networks were run once."""

from __future__ import annotations

import numpy as np

from keras_univrep.backbones import ResNet26
from keras_univrep.layers import ParallelAdapter, SeriesAdapter


def golden_weights(shape: tuple[int, ...]) -> np.ndarray:
    """Uniform-looking float64 numbers of variance near 1, over the flat index of a tensor."""
    x = np.sin(12.9898 * (np.arange(np.prod(shape)) + 1)) * 43758.5453
    return (np.sqrt(12) * (x - np.floor(x) - 0.5)).reshape(shape)


def golden_kernel(size: int, channels: int, filters: int) -> np.ndarray:
    """A convolution's kernel, (size, size, channels, filters), drawn in PyTorch's order."""
    kernel = golden_weights((filters, channels, size, size)) * np.sqrt(2 / (size**2 * filters))
    return kernel.transpose(2, 3, 1, 0)


def golden_dense(channels: int, units: int) -> np.ndarray:
    """A classifier's matrix, (channels, units), drawn in PyTorch's order."""
    return golden_weights((units, channels)).T / np.sqrt(channels)


def golden_images() -> np.ndarray:
    """sin(0.1 row + 0.2 column (image + 1) + channel), (2, 64, 64, 3)."""
    image, row, column, channel = np.ogrid[:2, :64, :64, :3]
    return np.sin(0.1 * row + 0.2 * column * (image + 1) + channel)


def set_golden_weights(network: ResNet26) -> None:
    """Gives every kernel of `network` its golden value; normalisations keep 1, 0, 0, 1."""
    units = [network.stem]
    for block in network.blocks:
        units += [block.unit1, block.unit2]
    for unit in units:
        convolution = unit.convolution
        if isinstance(convolution, (ParallelAdapter, SeriesAdapter)):
            for alpha in [part.kernel for part in convolution.parts]:
                shape = tuple(alpha.shape)
                alpha.assign(golden_kernel(1, *shape[-2:]).reshape(shape))
            convolution = convolution.layer
        convolution.kernel.assign(golden_kernel(3, *convolution.kernel.shape[-2:]))
