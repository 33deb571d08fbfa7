"""What `x_learner_sources` knows of each source: where it is and what it holds."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class XLearnerSource:
    """Facts of a source.

    Args:
        task: "classification", "detection" or "segmentation".
        builder: Builder of TensorFlow Datasets, or None.
        splits: Dict of split to the builder's.
        layout: Layout of a folder, a key of the readers of `x_learner_folders`.
        folders: Dict of split to what the folder calls it.
        licence: Licence of the images.
        source: Address of the origin.
        citation: What to cite.
    """

    task: str
    builder: str | None
    splits: dict[str, str]
    layout: str
    folders: dict[str, str]
    licence: str
    source: str
    citation: str


_TWO = {"train": "train", "validation": "validation"}
_TEST = {"train": "train", "test": "test"}
_CLASSES = {"train": "train", "validation": "val"}
_COCO_CITATION = (
    "T.-Y. Lin, M. Maire, S. Belongie, J. Hays, P. Perona, D. Ramanan, P. Dollar, C. L. Zitnick. "
    "Microsoft COCO: Common Objects in Context. ECCV, 2014."
)

X_LEARNER_SOURCES = {
    "imagenet": XLearnerSource(
        *("classification", "imagenet2012", _TWO, "classes", _CLASSES),
        "non-commercial research",
        "https://image-net.org",
        "O. Russakovsky et al. ImageNet Large Scale Visual Recognition Challenge. IJCV, 2015.",
    ),
    "inat2021": XLearnerSource(
        "classification",
        "i_naturalist2021",
        {"train": "train", "validation": "val"},
        *("classes", _CLASSES),
        "non-commercial research and education; licences of the images, one by one",
        "https://github.com/visipedia/inat_comp/tree/master/2021",
        "G. Van Horn, E. Cole, S. Beery, K. Wilber, S. Belongie, O. Mac Aodha. Benchmarking "
        "Representation Learning for Natural World Image Collections. CVPR, 2021.",
    ),
    "places365": XLearnerSource(
        *("classification", "places365_small", _TWO, "classes", _CLASSES),
        "non-commercial research and education",
        "http://places2.csail.mit.edu",
        "B. Zhou, A. Lapedriza, A. Khosla, A. Oliva, A. Torralba. Places: A 10 Million Image "
        "Database for Scene Recognition. IEEE TPAMI, 2017.",
    ),
    "compcars": XLearnerSource(
        *("classification", None, {}, "compcars", _TEST),
        "non-commercial research",
        "http://mmlab.ie.cuhk.edu.hk/datasets/comp_cars",
        "L. Yang, P. Luo, C. C. Loy, X. Tang. A Large-Scale Car Dataset for Fine-Grained "
        "Categorization and Verification. CVPR, 2015.",
    ),
    "dogs": XLearnerSource(
        *("classification", "stanford_dogs", _TEST, "classes", _CLASSES),
        "ImageNet terms: non-commercial research",
        "http://vision.stanford.edu/aditya86/ImageNetDogs",
        "A. Khosla, N. Jayadevaprakash, B. Yao, L. Fei-Fei. Novel Dataset for Fine-Grained Image "
        "Categorization. FGVC, CVPR, 2011.",
    ),
    "coco": XLearnerSource(
        *("detection", "coco/2017", _TWO, "coco"),
        {"train": "train2017", "validation": "val2017"},
        "annotations CC BY 4.0; images: licences of Flickr, one by one",
        "https://cocodataset.org",
        _COCO_CITATION,
    ),
    "objects365": XLearnerSource(
        *("detection", None, {}, "objects365", {"train": "train", "validation": "val"}),
        "annotations CC BY 4.0; images: licences of Flickr, one by one",
        "https://www.objects365.org",
        "S. Shao, Z. Li, T. Zhang, C. Peng, G. Yu, X. Zhang, J. Li, J. Sun. Objects365: A "
        "Large-Scale, High-Quality Dataset for Object Detection. ICCV, 2019.",
    ),
    "wider_face": XLearnerSource(
        *("detection", "wider_face", _TWO, "coco", {"train": "train", "validation": "val"}),
        "research; CC BY-NC-ND 4.0",
        "http://shuoyang1213.me/WIDERFACE",
        "S. Yang, P. Luo, C. C. Loy, X. Tang. WIDER FACE: A Face Detection Benchmark. CVPR, 2016.",
    ),
    "ade20k": XLearnerSource(
        *("segmentation", None, {}, "ade20k"),
        {"train": "training", "validation": "validation"},
        "non-commercial research and education",
        "http://sceneparsing.csail.mit.edu",
        "B. Zhou, H. Zhao, X. Puig, T. Xiao, S. Fidler, A. Barriuso, A. Torralba. Semantic "
        "Understanding of Scenes through the ADE20K Dataset. IJCV, 2019.",
    ),
    "coco_stuff": XLearnerSource(
        *("segmentation", "coco/2017_panoptic", _TWO, "coco_stuff"),
        {"train": "train2017", "validation": "val2017"},
        "annotations CC BY 4.0; images: licences of Flickr, one by one",
        "https://github.com/nightrome/cocostuff",
        "H. Caesar, J. Uijlings, V. Ferrari. COCO-Stuff: Thing and Stuff Classes in Context. CVPR, "
        f"2018. {_COCO_CITATION}",
    ),
}
