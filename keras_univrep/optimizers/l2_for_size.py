"""Weight decay that follows the size of a data set."""

# Largest number of training images, and the L2 factor up to there.
_STEPS = ((5_000, 2e-3), (30_000, 5e-4))
_LARGE = 1e-4


def l2_for_size(images: int) -> float:
    """Returns the weight decay for a domain of so many training images.

    Equation:
        rebuffi2018, section 4.1: 0.002 for Aircraft, DTD and VGG-Flowers, 0.0005 for Daimler,
        Omniglot and UCF101, 0.0001 for CIFAR-100, GTSRB and SVHN.

    Differences: The paper names data sets, not sizes. Sorted by training images the three groups
        do not overlap (at most 3334, 7629 to 23520, from 31367), so the limits here, 5000 and
        30000, lie between them.

    Args:
        images: Number of training images of the domain.

    Returns:
        The factor for `CoupledSGD(l2=...)`, whose penalty is l2 / 2 |w|^2; dimensionless.

    Raises:
        ValueError: If `images` is not positive.

    Example:
        >>> from keras_univrep.optimizers import l2_for_size
        >>> l2_for_size(1020), l2_for_size(17853), l2_for_size(40000)
        (0.002, 0.0005, 0.0001)

    References:
        Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
        CVPR 2018.
    """
    if images < 1:
        raise ValueError(
            f"`images` must be a positive number. Received: images={images}. Pass the number of "
            "training images."
        )
    return next((factor for limit, factor in _STEPS if images <= limit), _LARGE)
