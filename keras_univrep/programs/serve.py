"""Serves an exported network to other programs on this machine."""

import http.server
import logging
import pathlib
import tempfile
from collections.abc import Callable

from keras_univrep.conversion import export, load_exported
from keras_univrep.programs._batcher import Batcher
from keras_univrep.programs._networks import load_classifier
from keras_univrep.programs._rest import handler

logger = logging.getLogger(__name__)


def serve(
    saved_model: str | None = None,
    weights: str = "five_domains",
    name: str = "keras_univrep",
    host: str = "127.0.0.1",
    port: int = 8501,
    max_batch: int = 64,
    wait_ms: float = 5.0,
    smoke: bool = False,
    ready: Callable[[http.server.ThreadingHTTPServer], None] | None = None,
) -> None:
    """Answers requests in TensorFlow Serving's REST form, until it is interrupted.

    `POST /v1/models/NAME:predict` with `{"signature_name": domain, "instances": [image, ...]}`
    answers `{"predictions": [...]}`; `"inputs"` in place of `"instances"` answers `{"outputs":
    ...}`; `GET /v1/models/NAME` and `GET /v1/models/NAME/metadata` say what there is. Requests that
    come at the same time are run as one batch. It is for one machine: TensorFlow Serving itself
    takes the same folder and the same requests.

    Args:
        saved_model: Folder of a SavedModel as `conversion.export` writes it; by default `weights`
            are exported, with their preprocessing, so that images are integers in [0, 255].
        weights: A name of `list_weights()`, where there is no `saved_model`.
        name: Name of the model in the addresses.
        host: Address to listen at; others than this machine's own open it to the network.
        port: Port to listen at; 0 for a free one.
        max_batch: Images of a batch, at most.
        wait_ms: How long a request waits for others, in milliseconds.
        smoke: Whether to end as soon as it could answer.
        ready: Called with the server before it answers; for tests and supervisors.

    Raises:
        FileNotFoundError: If there is no SavedModel at the path.
        ValueError: If `max_batch` is not positive or `wait_ms` negative.
        ImportError: If TensorFlow is not installed.
        OSError: If the port is in use.

    Example:
        `keras-univrep serve --saved_model=served --port=8501`
    """
    if max_batch < 1 or wait_ms < 0:
        raise ValueError(
            "`max_batch` must be at least 1 and `wait_ms` not negative. Received: "
            f"max_batch={max_batch}, wait_ms={wait_ms}. Pass 1 and 0 for no batches."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(saved_model or f"{folder}/exported")
        if saved_model is None:
            model, entry = load_classifier(weights)
            statistics = {key: (known.mean, known.std) for key, known in entry.domains.items()}
            export(model, path, preprocess=statistics)
        signatures = load_exported(path)
        batchers = {
            key: Batcher(signature, max_batch, wait_ms / 1000.0)
            for key, signature in signatures.items()
        }
        server = http.server.ThreadingHTTPServer(
            (host, 0 if smoke else port), handler(name, signatures, batchers)
        )
        server.daemon_threads = True
        logger.info("%s answers at http://%s:%d/v1/models/%s", path, host, server.server_port, name)
        try:
            if ready is not None:
                ready(server)
            if not smoke:
                server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            server.server_close()
            for batcher in batchers.values():
                batcher.close()
