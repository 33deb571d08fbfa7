"""Multi Meta Tasks: sub-tasks of four high-level tasks, from domains of any origin."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_univrep.datasets.dense_domain import DenseDomain
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.fit_normals import fit_normals
from keras_univrep.datasets.multi_meta_tasks import MultiMetaTasks, Views
from keras_univrep.datasets.nyu_local import NYU_CAMERA
from keras_univrep.datasets.resize_dense import resize_dense
from keras_univrep.datasets.road_vanishing_points import road_vanishing_points
from keras_univrep.datasets.room_vanishing_points import room_vanishing_points

MMT_TASKS = ("classification", "depth", "normals", "vanishing_point")
# Metres at the end of the scale of depths.
_FAR = 10.0
Environments = int | Sequence[int] | np.ndarray


def mmt(
    split: str,
    classes: Mapping[str, Domain] | None = None,
    rooms: DenseDomain | None = None,
    roads: DenseDomain | None = None,
    size: int = 64,
    tasks: Sequence[str] = MMT_TASKS,
    environments: Environments = 20,
    camera: tuple[float, float, float, float] = NYU_CAMERA,
    camera_normals: bool = False,
    **kwargs: Any,
) -> MultiMetaTasks:
    """Opens the four high-level tasks of Multi Meta Tasks from domains.

    | task | from | labels |
    |---|---|---|
    | "classification" | `classes` | classes of a sub-task |
    | "depth" | `rooms` | metres / 10, (height, width, 1), 0 where not measured |
    | "normals" | `rooms` | unit vectors, (height, width, 3), zero where unknown |
    | "vanishing_point" | `rooms`, `roads` | column and row, (2,), see `room_vanishing_points` |

    Depth is cut to [0, 1]. Normals are those of `rooms`, or derived from its depth by `fit_normals`
    where it has none. The vanishing points of rooms are estimated from normals, those of roads from
    images (`road_vanishing_points`); images without an estimate are left out of that task.

    Domains come from builders of TensorFlow Datasets, folders or arrays:

        places = cross_domain_few_shot("places", size=64).train         # or a folder of one's own
        rooms = nyuv2("folder of Liu et al.", validation=100)
        tasks = mmt("train", places, rooms)

    Differences:
        lekkala2020 does not print the sets of its tasks, nor where vanishing points come from. It
        trains and tests on different sets: pass other ones for the test.

    Args:
        split: Split to open of each domain.
        classes: `{name: Domain}` whose classes in this split are told apart; `None` for none.
        rooms: `DenseDomain` with "depth"; `None` for none.
        roads: `DenseDomain` of streets, whose images alone are read; `None` for none.
        size: Height and width of images and maps, in pixels: they are squeezed.
        tasks: Some of "classification", "depth", "normals" and "vanishing_point".
        environments: Of the images of `rooms`: their environments' numbers, integers (n,), or how
            many consecutive images make one. Those of `roads` are 20 consecutive images.
        camera: Focal lengths and centre (fx, fy, cx, cy) of the rooms' camera, in pixels of an
            image 640 pixels wide.
        camera_normals: Whether the normals of `rooms` have the axes of `fit_normals`, so that
            vanishing points can be estimated from them; if not, that takes normals derived from
            depth.
        **kwargs: Numbers of `MultiMetaTasks`, such as `shot` and `seed`.

    Returns:
        `MultiMetaTasks`.

    Raises:
        ValueError: If a task is unknown or lacks its domain, or a number is out of range.
        ImportError: If Pillow is not installed.

    Example:

    >>> from keras_univrep.datasets import DenseDomain, load_domain, mmt
    >>> wall = np.full((20, 48, 64, 1), 2.0, "float32")  # Two metres away, seen from the front.
    >>> images = np.zeros((20, 48, 64, 3), "uint8")
    >>> rooms = DenseDomain(name="rooms", tasks={"depth": "depth"}, class_names={},
    ...                     image_shape=(48, 64, 3), splits={"train": (images, {"depth": wall})})
    >>> tasks = mmt("train", {"letters": load_domain("letters")}, rooms, size=32)
    >>> {task: tasks.batch(0)[task]["query"][1].shape for task in tasks.tasks[1:]}
    {'depth': (2, 5, 32, 32, 1), 'normals': (2, 5, 32, 32, 3), 'vanishing_point': (2, 5, 2)}

    References:
        - Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020, section 5.
    """
    if not tasks or not set(tasks) <= set(MMT_TASKS):
        raise ValueError(
            f"`tasks` must hold some of {list(MMT_TASKS)}. Received: {list(tasks)}. Leave it out "
            "for all."
        )
    chosen = [task for task in MMT_TASKS if task in tasks]
    wanted = {"classification": classes, "vanishing_point": rooms or roads}
    missing = [task for task in chosen if not wanted.get(task, rooms)]
    if missing:
        raise ValueError(
            f"Each task must have a domain. Received: none for {missing}. Pass `classes`, `rooms` "
            "or `roads`, or name fewer `tasks`."
        )
    parts: list[dict[str, Views]] = []
    if rooms is not None and set(chosen) - {"classification"}:
        parts.append(_of_rooms(rooms, split, size, chosen, environments, camera, camera_normals))
    if roads is not None and "vanishing_point" in chosen:
        images = roads.arrays(split)[0]
        points = road_vanishing_points(images)
        small = resize_dense(roads, (size, size)).arrays(split)[0]
        parts.append({"vanishing_point": _known(small, points, np.arange(len(images)) // 20)})
    return MultiMetaTasks(
        {name: domain.arrays(split) for name, domain in (classes or {}).items()}
        if "classification" in chosen
        else {},
        {
            task: _joined([part[task] for part in parts if task in part])
            for task in chosen
            if task != "classification"
        },
        **kwargs,
    )


def _of_rooms(
    domain: DenseDomain,
    split: str,
    size: int,
    tasks: Sequence[str],
    environments: Environments,
    camera: tuple[float, float, float, float],
    camera_normals: bool,
) -> dict[str, Views]:
    maps = domain.arrays(split)[1]
    if "depth" not in maps:
        raise ValueError(
            "`rooms` must have the task 'depth'. Received: a domain with "
            f"{list(maps)}. Open it with its depth."
        )
    small, own = resize_dense(domain, (size, size)).arrays(split)
    numbers = environments
    if isinstance(numbers, int):
        if numbers < 1:
            raise ValueError(
                "`environments` must be numbers of the images or a positive integer. Received: "
                f"{numbers}. Pass, for example, 20."
            )
        numbers = np.arange(len(small)) // numbers
    numbers = np.asarray(numbers, "int64")
    height, width = maps["depth"].shape[1:3]
    scale = width / 640
    fx, fy, cx, cy = (number * scale for number in camera)
    derived = maps.get("normals") if camera_normals else None
    needed = "vanishing_point" in tasks or ("normals" in tasks and "normals" not in maps)
    if derived is None and needed:
        radius = max(1, round(5 * width / 192))
        derived = fit_normals(maps["depth"][..., 0], fx, fy, cx, cy, radius, step=0.04)
    found = {}
    if "depth" in tasks:
        found["depth"] = (small, np.clip(own["depth"] / np.float32(_FAR), 0, 1), numbers)
    if "normals" in tasks:
        normals = own.get("normals")
        if normals is None:
            rows, columns = (
                ((np.arange(size) + 0.5) * side / size).astype("int64") for side in (height, width)
            )
            normals = np.asarray(derived)[:, rows[:, None], columns]
        found["normals"] = (small, normals, numbers)
    if "vanishing_point" in tasks:
        points = room_vanishing_points(np.asarray(derived), fx, fy, cx, cy)
        found["vanishing_point"] = _known(small, points, numbers)
    return found


def _known(images: np.ndarray, points: np.ndarray, environments: np.ndarray) -> Views:
    known = ~np.isnan(points[:, 0])
    return images[known], points[known], environments[known]


def _joined(parts: Sequence[Views]) -> Views:
    """The images of several sets one after another, their environments apart."""
    if len(parts) == 1:
        return parts[0]
    offset, numbers = 0, []
    for _, _, own in parts:
        numbers.append(own + offset)
        offset += int(own.max(initial=-1)) + 1
    images, labels = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    return images, labels, np.concatenate(numbers)
