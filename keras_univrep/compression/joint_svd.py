"""Low-rank factors of the adapters of all domains, one of which they share."""

import keras

from keras_univrep.compression._factors import with_factors


def joint_svd(
    model: keras.Model, rank: int | float = 0.5, energy: float | None = None
) -> keras.Model:
    """Compresses the parallel adapters of all domains jointly, around a shared factor.

    Equation:
        rebuffi2018, section 3.4, eq. 1: with the truncated singular value decomposition of the
        adapters of T domains side by side,

            [alpha_1 ... alpha_T] ~ U S [V_1' ... V_T'],    alpha_t ~ beta gamma_t',
            beta = U S,    gamma_t = V_t

        | symbol | here | shape |
        |---|---|---|
        | alpha_t | `adapter_kernel(domain)`, transposed here | (filters, channels) |
        | beta | `bank.beta`, transposed here; frozen | (filters, K) |
        | gamma_t | `part(domain).kernel` | (channels, K) |

    Differences: none known; the official code has no compression. The paper counts square adapters;
        here K is a fraction of the filters where they differ from the channels.

    Args:
        model: A `MultiDomainModel` over an `AdaptedBackbone` with full parallel adapters, or that
            backbone. It is left as it is.
        rank: K, or a fraction in (0, 1) of the filters of each layer. Where K is more than the
            smaller side of alpha, as in a stem on three channels, the layer gets that side's size
            as its K. Where a fraction is more, the layer keeps the domains' own alphas.
        energy: In place of `rank`: for each layer the smallest K that keeps this share, in (0, 1],
            of the squared singular values of all domains together.

    Returns:
        A new network of the same kind, not compiled. Fine-tune it: gamma of each domain trains and
        beta does not.

    Raises:
        TypeError: If the backbone is no `AdaptedBackbone`.
        ValueError: If there is no parallel adapter, one has factors already, or K is above the
            smaller side of every alpha.

    Example:
        >>> import keras
        >>> from keras_univrep.backbones import AdaptedBackbone
        >>> from keras_univrep.compression import joint_svd
        >>> images = keras.Input((16, 16, 4))
        >>> trunk = keras.Model(images, keras.layers.Conv2D(8, 3, name="conv")(images))
        >>> backbone = AdaptedBackbone(trunk, ["photo", "sketch"])
        >>> bank = joint_svd(backbone, rank=2).banks["conv"]
        >>> tuple(bank.beta.shape), tuple(bank.part("sketch").kernel.shape), bank.beta.trainable
        ((2, 8), (4, 2), False)

    References:
        Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
        CVPR 2018.
    """
    return with_factors(model, rank, energy, shared=True, function="joint_svd")
