"""Low-rank factors of the adapters of each domain."""

import keras

from keras_univrep.compression._factors import with_factors


def svd(model: keras.Model, rank: int | float = 0.5, energy: float | None = None) -> keras.Model:
    """Replaces every parallel adapter of every domain by its best factors of rank K.

    Equation:
        rebuffi2018, section 3.4: with the singular value decomposition alpha = U S V',

            alpha ~ beta gamma',    beta = U_K S_K,    gamma = V_K

        | symbol | here | shape |
        |---|---|---|
        | alpha | `adapter_kernel(domain)`, transposed here | (filters, channels) |
        | beta | `part(domain).beta`, transposed here | (filters, K) |
        | gamma | `part(domain).kernel` | (channels, K) |

    Differences: none known; the official code has no compression.

    Args:
        model: A `MultiDomainModel` over an `AdaptedBackbone` with full parallel adapters, or that
            backbone. It is left as it is.
        rank: K, or a fraction in (0, 1) of the filters of each layer. Where K is more than the
            smaller side of alpha, as in a stem on three channels, the layer gets that side's size
            as its K. Where a fraction is more, the layer keeps alpha.
        energy: In place of `rank`: for each layer the smallest K that keeps this share, in (0, 1],
            of the squared singular values in every domain.

    Returns:
        A new network of the same kind, not compiled; both factors train.

    Raises:
        TypeError: If the backbone is no `AdaptedBackbone`.
        ValueError: If there is no parallel adapter, one has factors already, or K is above the
            smaller side of every alpha.

    Example:
        >>> import keras
        >>> from keras_univrep.backbones import AdaptedBackbone
        >>> from keras_univrep.compression import svd
        >>> images = keras.Input((16, 16, 4))
        >>> trunk = keras.Model(images, keras.layers.Conv2D(8, 3, name="conv")(images))
        >>> backbone = AdaptedBackbone(trunk, ["photo", "sketch"])
        >>> part = svd(backbone, rank=2).banks["conv"].part("photo")
        >>> tuple(part.kernel.shape), tuple(part.beta.shape)
        ((4, 2), (2, 8))

    References:
        Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
        CVPR 2018.
    """
    return with_factors(model, rank, energy, shared=False, function="svd")
