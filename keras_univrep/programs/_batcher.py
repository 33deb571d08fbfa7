"""Requests that come at the same time, answered together."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future

import numpy as np

Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class Batcher:
    """Joins the images of requests into batches, runs each once, and gives each its part.

    Requests wait at most `wait` seconds for others; only those whose images have one shape join.
    """

    def __init__(self, run: Run, max_batch: int, wait: float) -> None:
        self._run = run
        self._max_batch = max_batch
        self._wait = wait
        self._requests: queue.Queue[tuple[np.ndarray, Future] | None] = queue.Queue()
        self.sizes: list[int] = []  # images of the last batches, newest last
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Answers one request; raises what the network raised for it."""
        future: Future = Future()
        self._requests.put((images, future))
        return future.result()

    def close(self) -> None:
        """Ends the thread, after the requests that wait."""
        self._requests.put(None)
        self._thread.join()

    def _work(self) -> None:
        held: tuple[np.ndarray, Future] | None = None
        ended = False
        while not ended:
            first = held if held is not None else self._requests.get()
            held = None
            if first is None:
                return
            batch, count = [first], len(first[0])
            until = time.monotonic() + self._wait
            while count < self._max_batch:
                try:
                    more = self._requests.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                    break
                alike = more[0].shape[1:] == first[0].shape[1:]
                if not alike or more[0].dtype != first[0].dtype:
                    held = more
                    break
                if count + len(more[0]) > self._max_batch:
                    held = more
                    break
                batch.append(more)
                count += len(more[0])
            self._answer(batch)
        if held is not None:
            self._answer([held])

    def _answer(self, batch: list[tuple[np.ndarray, Future]]) -> None:
        try:
            parts = self._parts([images for images, _ in batch])
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
            if len(batch) > 1:
                # One bad request must not fail those that it came with.
                for one in batch:
                    self._answer([one])
            else:
                batch[0][1].set_exception(error)
            return
        self.sizes = [*self.sizes[-99:], sum(len(images) for images, _ in batch)]
        for (_, future), part in zip(batch, parts, strict=True):
            future.set_result(part)

    def _parts(self, requests: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """What the network says of each request's images."""
        joined = np.concatenate(requests)
        outputs = {name: np.asarray(values) for name, values in self._run(joined).items()}
        shapes = {name: values.shape for name, values in outputs.items()}
        if any(shape[:1] != (len(joined),) for shape in shapes.values()):
            raise ValueError(
                f"Every output must have a row for each of the {len(joined)} images. Received: "
                f"outputs of the shapes {shapes}. Export a network that answers for each image."
            )
        ends = np.cumsum([len(images) for images in requests])[:-1]
        rows = {name: np.split(values, ends) for name, values in outputs.items()}
        return [{name: parts[i] for name, parts in rows.items()} for i in range(len(requests))]
