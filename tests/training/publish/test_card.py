"""The card says what the manifest says, in words that a user understands."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from service.engine.uncertainty import softmax, summarise_classes, summarise_regression
from service.model.manifest import Manifest, TrainingData, sha256
from training.evidence.answers import Answers
from training.evidence.calibrate import calibrate
from training.evidence.evaluate import evaluate, evaluate_ood, join
from training.evidence.glossary import DETECTED, GLOSSARY, SCORES
from training.publish.card import model_card

RNG = np.random.default_rng(61)


def sections(card: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", card, re.MULTILINE)


def classifier(manifest: Manifest) -> Manifest:
    """Evaluated on simulated answers."""
    logits = RNG.normal(size=(600, 3)) * 3
    answers = Answers(softmax(logits), summarise_classes(softmax(logits + RNG.normal(size=(20, 600, 3)))))
    targets = np.array([RNG.choice(3, p=row) for row in softmax(logits)])
    vague = Answers(softmax(logits / 9), summarise_classes(softmax(logits / 9 + RNG.normal(size=(20, 600, 3)))))
    calibrated = calibrate(manifest, answers, targets)
    figures = [evaluate_ood(answers, vague, kind) for kind in ("noise", "rotated", "other")]
    return calibrated.model_copy(update={"evaluation": join(evaluate(answers, targets, calibrated), *figures)})


def regressor(manifest: Manifest) -> Manifest:
    samples = RNG.normal(size=(20, 400, 1))
    answers = Answers(samples.mean(axis=0), summarise_regression(samples, noise_std=1.0))
    targets = RNG.normal(size=(400, 1))
    calibrated = calibrate(manifest.model_copy(update={"task": "regression", "labels": ()}), answers, targets)
    figures = evaluate_ood(answers, answers, "noise")
    return calibrated.model_copy(update={"evaluation": join(evaluate(answers, targets, calibrated), figures)})


def test_the_card_says_what_the_manifest_says(manifest: Manifest) -> None:
    stated = manifest.model_copy(
        update={
            "version": 3,
            "description": "Tells toys apart.",
            "training_data": TrainingData(name="toys", sha256="a" * 64, rows=12),
            "training": {"hidden": [32], "epochs": 5},
            "evaluation": {
                "baseline": {"accuracy": 0.4},
                "deterministic": {"accuracy": 0.97531},
                "mc": {"accuracy": 0.96, "mutual_information": 0.1},
            },
        }
    )
    card = model_card(stated)
    for line in (
        "# toy, version 3",
        "Tells toys apart.",
        "| `mask_0` | hidden | dropout | 0.5 | 32 |",
        f"toys: 12 rows, SHA-256 `{'a' * 64}`.",
        "| epochs | 5 |",
        "| accuracy | 0.4000 | 0.9753 | 0.9600 | higher | share of the answers that are right |",
    ):
        assert line in card.splitlines()
    assert "| mean mutual information (nats) |  |  | 0.1000 |" in card
    assert "/v1/models/toy/versions/3/uncertainty" in card
    assert """-d '{"inputs": [[0, 0, 0, 0]], "samples": 100, "seed": 7}'""" in card
    assert "Detection by uncertainty" not in card


@pytest.mark.parametrize("make", [classifier, regressor])
def test_every_figure_of_an_evaluation_is_in_the_card(make: Callable[[Manifest], Manifest], manifest: Manifest) -> None:
    stated = make(manifest)
    card = model_card(stated)
    known = set(GLOSSARY) | {f"auroc_{event}_{score}" for event in DETECTED for score in SCORES}
    checks = ("coverage_", "set_size_", "width_", "accepted_", "error_rate_")
    for by in stated.evaluation.values():
        for name, value in by.items():
            assert name in known or name.startswith(checks), name
            shown = f"{value:.4f}" if value == 0 or abs(value) >= 0.01 else f"{value:.4g}"
            assert f"| {shown} |" in card, name


def test_tables_of_a_classifier(manifest: Manifest) -> None:
    card = model_card(classifier(manifest))
    assert {
        "Detection by uncertainty",
        "Coverage of sets and intervals",
        "Error rates of the abstention thresholds",
    } <= set(sections(card))
    assert "| made of | target coverage | coverage | expected | classes in a set |" in card
    assert "| noise among test rows | mutual information |  | " in card


def test_tables_of_a_regression(manifest: Manifest) -> None:
    card = model_card(regressor(manifest))
    assert "| made of | target coverage | coverage | expected | width |" in card
    assert "| conformal, the deterministic answer | 0.9 | " in card
    assert "| normal distribution, MC dropout | 0.9 | " in card
    assert "abstention thresholds" not in card


def test_only_plots_that_are_published_are_linked(manifest: Manifest) -> None:
    stated = classifier(manifest)
    assert "![" not in model_card(stated)
    shown = stated.model_copy(update={"files": {**stated.files, "reliability.svg": sha256(b"")}})
    card = model_card(shown)
    assert card.count("![") == 1
    assert "](reliability.svg)" in card


def test_tables_have_as_many_cells_in_every_line(manifest: Manifest) -> None:
    for stated in (classifier(manifest), regressor(manifest)):
        tables = re.findall(r"(?:^\|.*\|\n)+", model_card(stated), re.MULTILINE)
        assert len(tables) >= 5
        for table in tables:
            assert len({line.count("|") for line in table.splitlines()}) == 1
