"""The served network, asked over HTTP."""

import json
import threading
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest

from keras_univrep import datasets
from keras_univrep.applications import UniversalResNet26, list_weights
from keras_univrep.conversion import export
from keras_univrep.programs import serve
from keras_univrep.programs._batcher import Batcher

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="the server runs on TensorFlow whatever the backend; export from others has its tests",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server of two domains with preprocessing, and its address."""
    entry = list_weights()["five_domains"]
    names = ["eurosat", "signdigits"]
    model = UniversalResNet26("five_domains", domains=names)
    statistics = {name: (entry.domain(name).mean, entry.domain(name).std) for name in names}
    path = tmp_path_factory.mktemp("served") / "model"
    export(model, path, preprocess=statistics)
    started: list = []
    up = threading.Event()

    def ready(server):
        started.append(server)
        up.set()

    thread = threading.Thread(
        target=serve, args=(str(path),), kwargs={"port": 0, "ready": ready, "name": "two"}
    )
    thread.start()
    assert up.wait(120)
    yield f"http://127.0.0.1:{started[0].server_port}/v1/models/two"
    started[0].shutdown()
    thread.join(30)


def ask(address, request=None):
    """The status and the answer of a request; a GET where there is none."""
    data = None if request is None else json.dumps(request).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data)) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_rows_and_columns_are_answered_as_the_network_answers(address):
    domain = datasets.load_domain("eurosat")
    images = domain.arrays("test")[0][:3]
    model = UniversalResNet26("five_domains")
    wanted = keras.ops.convert_to_numpy(model(domain.normalize(images), domain="eurosat"))
    request = {"signature_name": "eurosat", "instances": images.tolist()}
    status, answer = ask(f"{address}:predict", request)
    assert status == 200
    found = np.array([row["logits"] for row in answer["predictions"]])
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    named = {"signature_name": "eurosat", "instances": [{"images": i} for i in images.tolist()]}
    assert ask(f"{address}/versions/1:predict", named) == (status, answer)
    columns = {"signature_name": "eurosat", "inputs": {"images": images.tolist()}}
    status, answer = ask(f"{address}:predict", columns)
    assert status == 200
    np.testing.assert_allclose(answer["outputs"]["logits"], wanted, atol=1e-4)


def test_the_default_signature_answers_for_every_domain(address):
    image = np.zeros((32, 32, 3), int).tolist()
    _, answer = ask(f"{address}:predict", {"instances": [image]})
    assert set(answer["predictions"][0]) == {"eurosat", "signdigits"}


def test_it_says_what_there_is(address):
    assert ask(address)[1]["model_version_status"][0]["state"] == "AVAILABLE"
    signatures = ask(f"{address}/metadata")[1]["metadata"]["signature_def"]
    assert {"eurosat", "signdigits", "serving_default"} <= set(signatures)
    assert signatures["eurosat"]["inputs"]["images"]["shape"] == [-1, -1, -1, 3]


@pytest.mark.parametrize(
    ("path", "request_", "status"),
    [
        (":predict", {}, 400),
        (":predict", {"instances": [[1.0]], "signature_name": "birds"}, 404),
        (":predict", {"instances": [[[[0, 0, 0]]], [[0]]]}, 400),
        (":predict", {"instances": ["image"]}, 400),
        (":predict", {"instances": [[[[0.5, 0.5, 0.5]]]]}, 400),
        (":predict", {"instances": [[[[0, 0, 300]]]]}, 400),
        (":classify", {"instances": [[1.0]]}, 405),
        ("/versions/7:predict", {"instances": [[1.0]]}, 404),
    ],
)
def test_wrong_requests_are_explained_and_the_next_is_answered(address, path, request_, status):
    found, answer = ask(address + path, request_)
    assert found == status and answer["error"]
    assert ask(address)[0] == 200


def test_a_body_that_is_no_json_is_an_error(address):
    request = urllib.request.Request(f"{address}:predict", b"{")
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    assert error.value.code == 400


def test_batches_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="max_batch"):
        serve(max_batch=0)


def test_requests_that_come_together_run_as_one_batch():
    first, go = threading.Event(), threading.Event()

    def run(images):
        first.set()
        go.wait(10)
        return {"twice": 2 * images}

    batcher = Batcher(run, max_batch=8, wait=0.2)
    answers = {}

    def request(number):
        answers[number] = batcher(np.full((2, 3), number))["twice"]

    threads = [threading.Thread(target=request, args=(number,)) for number in range(6)]
    threads[0].start()
    first.wait(10)  # the others wait behind it
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    for number in range(6):
        np.testing.assert_array_equal(answers[number], np.full((2, 3), 2 * number))
    assert sum(batcher.sizes) == 12 and max(batcher.sizes) > 2 and max(batcher.sizes) <= 8
    batcher.close()


@pytest.mark.parametrize("output", [np.float32(1.0), np.ones((3, 2)), None])
def test_an_output_that_is_no_batch_is_an_error_and_the_next_request_is_answered(output):
    outputs = [{"same": output} if output is not None else None, {"same": np.ones((2, 4))}]
    batcher = Batcher(lambda images: outputs.pop(0), max_batch=8, wait=0.0)
    answers = []

    def request():
        try:
            answers.append(batcher(np.ones((2, 4)))["same"].shape)
        except (ValueError, AttributeError) as error:
            answers.append(type(error))

    for _ in range(2):
        thread = threading.Thread(target=request, daemon=True)
        thread.start()
        thread.join(10)
    assert answers == [ValueError if output is not None else AttributeError, (2, 4)]
    batcher.close()


def test_a_bad_request_does_not_fail_those_that_it_came_with():
    def run(images):
        if (images < 0).any():
            raise ValueError("negative")
        return {"same": images}

    batcher = Batcher(run, max_batch=8, wait=0.3)
    answers = []

    def request(value):
        try:
            answers.append((value, float(batcher(np.full((1, 1), value))["same"][0, 0])))
        except ValueError as error:
            answers.append((value, str(error)))

    threads = [threading.Thread(target=request, args=(value,)) for value in (1.0, -1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(answers) == [(-1.0, "negative"), (1.0, 1.0), (2.0, 2.0)]
    batcher.close()
