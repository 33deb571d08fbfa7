"""The ten domains of the Visual Decathlon, as two papers prepare them."""

from keras_univrep.datasets.decathlon_domain import DECATHLON_SIDE, DecathlonDomain

PRESETS = ("rebuffi2018", "li2022")
_CROP_SIZE = 64
# Glyphs and signs, which a mirror changes.
_UPRIGHT = ("gtsrb", "omniglot", "svhn")

# Name: classes, test images, number of test image 1, number of category 0, mean, deviation (red,
# green, blue; one value where the images are grey). From the official annotation files and the
# statistics published with rebuffi2018.
_FACTS: dict[str, tuple[int, int, int, int, tuple[float, ...], tuple[float, ...]]] = {
    "imagenet12": (1000, 48238, 61481168, 60000001, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "aircraft": (
        *(100, 3333, 10206668, 10000001),
        *((0.47983041, 0.51074066, 0.53437998), (0.21070221, 0.20508901, 0.23729657)),
    ),
    "cifar100": (
        *(100, 10000, 20250001, 20000001),
        *((0.50705882, 0.48666667, 0.44078431), (0.26745098, 0.25647059, 0.27607843)),
    ),
    "daimlerpedcls": (2, 19600, 30229401, 30000001, (0.48203529,), (0.23612616,)),
    "dtd": (
        *(47, 1880, 40203761, 40000001),
        *((0.52696497, 0.47025164, 0.42396662), (0.25226877, 0.24091760, 0.24994090)),
    ),
    "gtsrb": (
        *(43, 12630, 50239210, 50000001),
        *((0.33921263, 0.31178360, 0.32047045), (0.27560347, 0.26576119, 0.27089863)),
    ),
    "vgg-flowers": (
        *(102, 6149, 100202041, 100000001),
        *((0.43414682, 0.38309883, 0.29714763), (0.28509808, 0.23842338, 0.26396330)),
    ),
    "omniglot": (1623, 8115, 70224346, 70000001, (0.08099839,), (0.27046935,)),
    "svhn": (
        *(10, 26032, 80273258, 80000001),
        *((0.4376821, 0.4437697, 0.47280442), (0.19803012, 0.20101562, 0.19703614)),
    ),
    "ucf101": (
        *(101, 3783, 90209538, 90000001),
        *((0.49953101, 0.49880386, 0.49981996), (0.10898684, 0.10810246, 0.10679939)),
    ),
}


def visual_decathlon(preset: str = "rebuffi2018") -> dict[str, DecathlonDomain]:
    """Lists the ten domains of the Visual Decathlon with their preparation.

    Official images have a shorter side of 72 pixels. What a network gets of them:

    | domain | classes | test images | rebuffi2018 | li2022 |
    |---|---|---|---|---|
    | imagenet12 | 1000 | 48238 | crop 64, mirror | crop 72, mirror |
    | aircraft | 100 | 3333 | crop 64, mirror | squash, crop 64, mirror |
    | cifar100 | 100 | 10000 | crop 64, mirror | the same |
    | daimlerpedcls | 2 | 19600 | crop 64, mirror | squash, crop 64, mirror |
    | dtd | 47 | 1880 | crop 64, mirror | the same |
    | gtsrb | 43 | 12630 | centre 72 | crop 64 |
    | vgg-flowers | 102 | 6149 | crop 64, mirror | the same |
    | omniglot | 1623 | 8115 | centre 72 | crop 64 |
    | svhn | 10 | 26032 | centre 72 | crop 64 |
    | ucf101 | 101 | 3783 | crop 64, mirror | the same |

    Training crops at random, evaluation in the centre; "centre" crops there in both.

    Differences:
        Each preset is what the paper's code does; both papers say only that images have roughly 72
        pixels. In li2022 the student, not its teachers, sees the crops of 64 pixels enlarged to 72
        wherever imagenet12 is among the domains: `DecathlonImages(name, "li2022", side=72)`.

    Args:
        preset: "rebuffi2018" or "li2022".

    Returns:
        Dict of official name to `DecathlonDomain`, in the order of the papers' tables.

    Raises:
        ValueError: If the preset is unknown.

    Example:

    >>> domains = visual_decathlon("li2022")
    >>> {name: domain.num_classes for name, domain in domains.items() if domain.squash}
    {'aircraft': 100, 'daimlerpedcls': 2}

    References:
        - Rebuffi, Bilen and Vedaldi, Efficient Parametrization of Multi-Domain Deep Neural
          Networks, 2018.
        - Li, Liu and Bilen, Universal Representations: A Unified Look at Multiple Task and Domain
          Learning, 2022.
    """
    if preset not in PRESETS:
        raise ValueError(
            f"`preset` must be one of {list(PRESETS)}. Received: preset={preset!r}. Pass one of "
            "these."
        )
    paper_e = preset == "rebuffi2018"
    domains = {}
    for name, (classes, images, first_image, first_category, mean, std) in _FACTS.items():
        whole = name in _UPRIGHT if paper_e else name == "imagenet12"
        domains[name] = DecathlonDomain(
            name=name,
            num_classes=classes,
            mean=_three(mean),
            std=_three(std),
            crop_size=DECATHLON_SIDE if whole else _CROP_SIZE,
            random_crop=not (paper_e and whole),
            flip=name not in _UPRIGHT,
            squash=not paper_e and name in ("aircraft", "daimlerpedcls"),
            num_test_images=images,
            first_test_image=first_image,
            first_category=first_category,
        )
    return domains


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values * 3 if len(values) == 1 else values
    return (red, green, blue)
