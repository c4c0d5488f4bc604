"""Write a manifest as MODEL_CARD.md, the model in words and tables (Mitchell et al. 2019)."""

import json
from collections.abc import Sequence
from typing import Any

from service.model.manifest import LearnedNoise, Manifest, SiteComparison
from training.evidence.glossary import FIGURES, KINDS
from training.publish.card_figures import figures
from training.publish.markdown import escaped, number, table

__all__ = ["FIGURES", "KINDS", "model_card"]

LIMITS = (
    "## Limits\n\nThe figures hold for rows like those of the data above. Far from them the network may be"
    " confidently wrong; a high mutual information is a sign of it, a low one is no proof of the opposite."
    " The coverage of prediction sets is an average over rows, not a guarantee for each."
)
"""The section that ends every card."""


def model_card(manifest: Manifest) -> str:
    """Return the card as Markdown."""
    sections = (_intro, _data, _training, figures, _calibration, _calling)
    return "\n\n".join([*(section(manifest) for section in sections), LIMITS]) + "\n"


def _intro(manifest: Manifest) -> str:
    shapes = ", ".join(f"`{spec.name}` of {_times(spec.shape)} values" for spec in manifest.inputs)
    sites = table(
        ("mask", "site", "kind", "p", "shape"),
        [(f"`mask_{i}`", s.name, s.kind, f"{s.p:g}", _times(s.shape)) for i, s in enumerate(manifest.sites)],
    )
    description = f"{manifest.description}\n\n" if manifest.description else ""
    labels = f"Its classes are: {', '.join(manifest.labels)}. " if manifest.labels else ""
    return (
        f"# {manifest.name}, version {manifest.version}\n\n{description}"
        f"A {manifest.task} network with dropout, published {manifest.created}. {labels}"
        f"A row has {shapes}, as measured: preprocessing is in the graph.{_pictures(manifest)}{_missing(manifest)}\n\n"
        f"It has dropout at these sites, which stays on in its samples:\n\n{sites}{_bypassed(manifest)}"
    )


def _bypassed(manifest: Manifest) -> str:
    """Return the sites that are off in samples, and a table of what that costs and saves."""
    if not manifest.bypassed_sites:
        return ""
    names = ", ".join(escaped(name) for name in manifest.bypassed_sites)
    others = f"\n\nIts other dropout is off in samples, too: {names}."
    return others + (_comparison(manifest.site_comparison, manifest) if manifest.site_comparison else "")


def _comparison(found: SiteComparison, manifest: Manifest) -> str:
    classes = manifest.task == "classification"
    spread = "mutual information" if classes else "standard deviation of the samples"
    detection = "AUROC of wrong answers by it" if classes else "rank correlation of it with the absolute error"
    names = {"rank_correlation": f"rank correlation of the {spread}", "detection": detection}
    rows = [(title, *_beside(found, field)) for field, title in names.items()]
    rows.append(("seconds of a row with 100 samples", *_beside(found, "seconds")))
    return (
        f"\n\nCompared on {found.rows} {found.part} rows. The rank correlation is Spearman's with the samples of all"
        " sites; for all sites themselves, with other samples of theirs, which is the most to expect. Right and wrong"
        " are the deterministic answers. The time is that of the machine that published.\n\n"
    ) + table(("figure", "all sites", "sampled sites"), rows)


def _beside(found: SiteComparison, figure: str) -> tuple[str, str]:
    of_all, sampled = (getattr(each, figure) for each in (found.all_sites, found.sampled_sites))
    return number(of_all), number(sampled)


def _pictures(manifest: Manifest) -> str:
    spec = manifest.inputs[0]
    if not spec.image:
        return ""
    return (
        f"\n\nPictures are converted to rows: upright by their EXIF, mode {spec.image.mode}, resized to"
        f" {_times(spec.shape[1:])} (height×width, {spec.image.resize}, {spec.image.resample}), on"
        f" {spec.image.background}; values from 0 to 255."
    )


def _missing(manifest: Manifest) -> str:
    imputation = manifest.inputs[0].imputation
    if not imputation:
        return ""
    names = manifest.features or tuple(str(place) for place in range(len(imputation)))
    values = [
        (name, manifest.categories[name][int(value)] if name in manifest.categories else f"{value:.10g}")
        for name, value in zip(names, imputation, strict=True)
    ]
    return (
        "\n\nA value may be missing: null in JSON, an empty field of CSV, NaN in arrays. The network imputes the median"
        " of the training rows, for a category the most frequent one:\n\n" + table(("feature", "value"), values)
    )


def _data(manifest: Manifest) -> str:
    data = manifest.training_data
    if data is None:
        return "## Data\n\nNot stated."
    return f"## Data\n\n{data.name}: {data.rows} rows, SHA-256 `{data.sha256}`."


def _training(manifest: Manifest) -> str:
    settings = table(("setting", "value"), [(key, _plain(value)) for key, value in manifest.training.items()])
    libraries = ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())
    commit = f" from commit `{manifest.git_commit}`" if manifest.git_commit else ""
    return f"## Training\n\n{settings}\n\nMade{commit} with {libraries}."


def _calibration(manifest: Manifest) -> str:
    parts = [_scale(manifest), _conformal(manifest), _abstention(manifest)]
    return "\n\n".join(["## Calibration", *filter(None, parts)])


def _scale(manifest: Manifest) -> str:
    if manifest.task == "regression":
        return _noise(manifest)
    sampled = manifest.sampled_temperature or manifest.temperature
    return (
        f"Logits are divided by the temperature {manifest.temperature:.4g} before the softmax, those of MC dropout by"
        f" {sampled:.4g}; both were fitted on validation rows." + _weights(manifest)
    )


def _weights(manifest: Manifest) -> str:
    """Return the meaning of probabilities under class weights, and a table of these."""
    if not manifest.class_weights:
        return ""
    weights = zip(manifest.labels, manifest.class_weights, strict=True)
    return (
        "\n\nThe loss and the temperatures weigh each row by its class, so that the **probabilities do not hold at the"
        " classes' own frequencies**: they hold where each class is as frequent as its share of the training rows times"
        " its weight. Divided by the weights and scaled to a sum of 1, they are those of rows as frequent as the"
        " training rows. Prediction sets and thresholds hold at the classes' own frequencies.\n\n"
    ) + table(("class", "weight"), [(label, f"{weight:.6g}") for label, weight in weights])


def _noise(manifest: Manifest) -> str:
    if isinstance(manifest.noise, LearnedNoise):
        return (
            "The network predicts the standard deviation of each row's observation noise, multiplied by"
            f" {manifest.noise.scale:.4g}."
        )
    return f"The observation noise has a standard deviation of {manifest.noise.std:.4g}." if manifest.noise else ""


def _conformal(manifest: Manifest) -> str:
    if not manifest.conformal:
        return ""
    what = "the classes with 1 - probability (deterministic) up to the quantile"
    if manifest.task == "regression":
        what = "the answer ± the quantile" + " times the row's noise (deterministic)" * manifest.noise_is_learned
    return (
        f"Prediction sets, by calibration rows that chose nothing else: {what} contains the truth at the target rate."
        "\n\n"
    ) + table(("target coverage", "quantile"), [(f"{q.coverage:g}", f"{q.quantile:.6g}") for q in manifest.conformal])


def _abstention(manifest: Manifest) -> str:
    if not manifest.abstention:
        return ""
    return (
        "Abstention: among the rows with a predictive entropy (MC dropout) up to the threshold, the share of wrong"
        " answers is at most the target, by the 90 % upper bound (Clopper & Pearson) of the calibration rows.\n\n"
    ) + table(
        ("target error rate", "highest entropy (nats)", "share accepted"),
        [(f"{t.error_rate:g}", f"{t.threshold:.6g}", f"{t.coverage:.3f}") for t in manifest.abstention],
    )


def _calling(manifest: Manifest) -> str:
    """Return examples that run as they stand, with a row of zeros, as the manifest holds no rows."""
    rows = {spec.name: [_zeros(spec.shape)] for spec in manifest.inputs}
    inputs: Any = next(iter(rows.values())) if len(rows) == 1 else rows
    predict = _curl(manifest, "predict", {"inputs": inputs})
    uncertainty = _curl(manifest, "uncertainty", {"inputs": inputs, "samples": 100, "seed": 7})
    return (
        f"## Calling it\n\nThe row is zeros; replace them by your own values.\n\n```sh\n{predict}\n\n{uncertainty}\n```"
    )


def _curl(manifest: Manifest, endpoint: str, body: dict[str, Any]) -> str:
    url = f"http://127.0.0.1:8000/v1/models/{manifest.name}/versions/{manifest.version}/{endpoint}"
    return f"curl {url} -H 'Content-Type: application/json' -d '{json.dumps(body)}'"


def _zeros(shape: Sequence[int]) -> Any:
    return [_zeros(shape[1:]) for _ in range(shape[0])] if shape else 0


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
