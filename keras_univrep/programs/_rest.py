"""TensorFlow Serving's REST form of prediction."""

import http.server
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_univrep.programs._batcher import Batcher

DEFAULT = "serving_default"
VERSION = "1"
LIMIT = 64 << 20  # bytes of a request
PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(?:(/metadata)|:([a-z]+))?")


class RequestError(Exception):
    """A request that cannot be answered, with its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def predict(signatures: Mapping[str, Any], batchers: Mapping[str, Batcher], body: bytes) -> Any:
    """The answer to the body of a `:predict` request, in row or column form."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise RequestError(400, f"The body must be JSON. Received: {error}.") from error
    if not isinstance(request, dict) or ("instances" in request) == ("inputs" in request):
        raise RequestError(
            400, 'The body must hold either "instances" (rows) or "inputs" (columns).'
        )
    name = request.get("signature_name", DEFAULT)
    if name not in signatures:
        raise RequestError(
            404, f"`signature_name` must be one of {sorted(signatures)}. Received: {name!r}."
        )
    signature, rows = signatures[name], "instances" in request
    values = request["instances" if rows else "inputs"]
    images = _images(values, signature.input_name, rows)
    try:
        outputs = batchers[name](images)
    except ValueError as error:
        raise RequestError(400, str(error)) from error
    listed = {key: np.asarray(value).tolist() for key, value in outputs.items()}
    if not rows:
        return {"outputs": listed if len(listed) > 1 else next(iter(listed.values()))}
    if len(listed) == 1:
        return {"predictions": next(iter(listed.values()))}
    return {
        "predictions": [
            dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)
        ]
    }


def _images(values: Any, name: str, rows: bool) -> np.ndarray:
    """The images of a request as one array."""
    if rows and isinstance(values, list) and values and isinstance(values[0], dict):
        wrong = [row for row in values if not isinstance(row, dict) or set(row) != {name}]
        if wrong:
            raise RequestError(400, f'Each instance must be an image or {{"{name}": image}}.')
        values = [row[name] for row in values]
    elif not rows and isinstance(values, dict):
        if set(values) != {name}:
            raise RequestError(400, f"`inputs` must be {name!r} alone. Received: {sorted(values)}.")
        values = values[name]
    try:
        images = np.asarray(values)
    except ValueError as error:
        raise RequestError(400, f"The images of a request must have one shape. {error}") from error
    if images.dtype.kind not in "iuf" or images.ndim < 1 or not len(images):
        raise RequestError(400, f"Images must be numbers, at least one. Received: {images.dtype}.")
    return images.astype("float32") if images.dtype.kind == "f" else images


def handler(
    model: str, signatures: Mapping[str, Any], batchers: Mapping[str, Batcher]
) -> type[http.server.BaseHTTPRequestHandler]:
    """The class that answers the requests of a server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > LIMIT:
                self.close_connection = True
                status = 413 if length.isdigit() else 411
                self._send(status, {"error": f"A body must have at most {LIMIT} bytes, and say so"})
                return
            self._answer(self.rfile.read(int(length)))

        def _answer(self, body: bytes) -> None:
            try:
                self._send(200, self._route(body))
            except RequestError as error:
                self._send(error.status, {"error": str(error)})
            except Exception as error:  # noqa: BLE001 - the next request wants an answer too
                self._send(500, {"error": f"{type(error).__name__}: {error}"})

        def _route(self, body: bytes) -> Any:
            found = PATH.fullmatch(self.path)
            known = found and found[1] == model and found[2] in (None, VERSION)
            if not found or not known:
                raise RequestError(404, f"Paths start with /v1/models/{model}. Got {self.path}")
            if found[4] == "predict" and self.command == "POST":
                return predict(signatures, batchers, body)
            if self.command == "GET" and found[3]:
                return _metadata(model, signatures)
            if self.command == "GET" and found[4] is None:
                return _status()
            raise RequestError(405, f"POST {model}:predict, or GET the model or its /metadata")

        def _send(self, status: int, answer: Any) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Requests are not logged."""

    return Handler


def _status() -> dict[str, Any]:
    status = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": VERSION, "state": "AVAILABLE", "status": status}]}


def _metadata(model: str, signatures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model_spec": {"name": model, "signature_name": "", "version": VERSION},
        "metadata": {
            "signature_def": {
                name: {
                    "inputs": {
                        signature.input_name: {
                            "dtype": str(signature.dtype),
                            "shape": [-1 if size is None else size for size in signature.shape],
                        }
                    },
                    "outputs": list(signature.outputs),
                }
                for name, signature in signatures.items()
            }
        },
    }
