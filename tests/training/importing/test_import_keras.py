"""A file of Keras: a convolutional network that TensorFlow trained, exported as docs/import.md says, dynamo=False."""

from pathlib import Path

import numpy as np

from service.engine.masks import MaskCache
from service.engine.sampling import Sampling
from service.loading.load import load_model
from training.evidence.rows import Rows
from training.importing.publishing import publish_onnx

FILES = Path(__file__).parent / "files"


def test_the_service_answers_as_keras_does(tmp_path: Path) -> None:
    """keras.npz: rows, and what the network predicted for them in TensorFlow before it was exported."""
    with np.load(FILES / "keras.npz") as file:
        rows, answers = file["rows"], file["answers"]
    folder, manifest = publish_onnx(
        FILES / "keras.onnx", [rows], name="bright", models=tmp_path, labels=("bottom", "top")
    )
    engine = load_model(folder, MaskCache(2**20))
    assert [(site.p, site.shape) for site in manifest.sites] == [(0.3, (200,))]
    np.testing.assert_allclose(engine.predict({"rows": rows}).values, answers, atol=1e-6)
    passes = engine.draw_all({"rows": rows}, Sampling(50, 0))
    assert passes.std(axis=0).min() > 0.01


def test_its_thinned_networks_are_calibrated_like_any_other(tmp_path: Path) -> None:
    """Images of the second class are brighter at the top."""
    rng = np.random.default_rng(0)
    rows = rng.random((300, 12, 12, 1)).astype(np.float32)
    classes = (rows[:, :6].mean((1, 2, 3)) > rows[:, 6:].mean((1, 2, 3))).astype(np.int64)
    parts = [Rows((rows[i : i + 100],), classes[i : i + 100]) for i in (0, 100, 200)]
    _, manifest = publish_onnx(
        FILES / "keras.onnx",
        [rows],
        name="bright",
        models=tmp_path,
        labels=("bottom", "top"),
        validation=parts[0],
        calibration=parts[1],
        test=parts[2],
    )
    assert manifest.evaluation["mc"]["accuracy"] > 0.6
    assert len(manifest.conformal) == 4
