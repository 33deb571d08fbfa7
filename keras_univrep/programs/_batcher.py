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
            outputs = self._run(np.concatenate([images for images, _ in batch]))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
            if len(batch) > 1:
                # One bad request must not fail those that it came with.
                for one in batch:
                    self._answer([one])
            else:
                batch[0][1].set_exception(error)
            return
        self.sizes = [*self.sizes[-99:], sum(len(images) for images, _ in batch)]
        start = 0
        for images, future in batch:
            end = start + len(images)
            future.set_result({name: values[start:end] for name, values in outputs.items()})
            start = end
