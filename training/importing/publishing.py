"""Publish an ONNX file with dropout."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from service.model.manifest import LearnedNoise, Manifest
from service.model.runtime import Array
from training.errors import CannotExport, TrainingError, VerificationFailed
from training.evidence.evidence import Evidence, Log
from training.evidence.rows import Rows, one_an_input
from training.exporting.exported import Exported
from training.exporting.selection import auto_share
from training.exporting.verify import Verified, verify
from training.flags import check_name
from training.importing.network import EXAMPLE_ROWS, Network, freed_advice, make_network
from training.importing.reading import making_sense
from training.importing.source import Source, open_source
from training.importing.untouched import compare
from training.publish.publish import FinalCheck
from training.publish.release import Facts, drafting, publish_verified
from training.publish.sites import chosen_sites

RANDOM_ADVICE = "the rows were random numbers; real ones (--rows) may pass"


def publish_onnx(
    file: Path | str | Source,
    rows: ArrayLike | Sequence[ArrayLike] = (),
    *,
    name: str,
    models: Path | str = Path("models"),
    labels: Sequence[str] = (),
    validation: Rows | None = None,
    calibration: Rows | None = None,
    test: Rows | None = None,
    others: ArrayLike | Sequence[ArrayLike] = (),
    passes: int = 100,
    seed: int = 0,
    sample_sites: Sequence[str] = (),
    log: Log = lambda _: None,
    final_check: FinalCheck = lambda _: None,
    **facts: Unpack[Facts],
) -> tuple[Path, Manifest]:
    """Publish the network of an ONNX file, as `training.publish.release.publish_module` publishes a torch module.

    `rows` are one array (rows, …) for each input, of rows that may be published; without them, random numbers of the
    declared shapes are used. A Softmax at the end of a classification is removed. Both graphs are verified against the
    file's own network, and predict.onnx against the untouched file. Raises ConfigError for a name that a model cannot
    have, CannotExport, VerificationFailed or another TrainingError, and then leaves no files.
    """
    check_name(name)
    auto_share(sample_sites)
    evidence = Evidence(validation, calibration, test, one_an_input(others), passes, seed)
    source = file if isinstance(file, Source) else open_source(Path(file))
    arrays = [np.asarray(array) for array in one_an_input(rows)]
    for note in source.notes:
        log(f"import: {note}")
    with making_sense():
        network = make_network(source, arrays, classification=bool(labels))
        try:
            exported = chosen_sites(network.graph, sample_sites, drafting(name, labels, facts), evidence, log)
        except CannotExport as error:
            raise CannotExport(f"{error.message}{freed_advice(network.fixed_rows)}") from None
    if isinstance(facts.get("noise"), LearnedNoise):
        _check_deviations(network.original.predict(network.example))
    for line in _describe(network, exported, random=not arrays):
        log(f"import: {line}")
    verified = _checked(network, exported, random=not arrays)
    check = compare(source.untouched, exported, network.example, rows=network.fixed_rows)
    log(f"verify: {check.name}: {check.detail}")
    facts["training"] = source.origin | facts.get("training", {})
    return publish_verified(
        verified,
        network.example,
        evidence,
        network.graph.exported,
        name=name,
        models=models,
        labels=labels,
        log=log,
        final_check=final_check,
        **facts,
    )


def _check_deviations(answers: Array) -> None:
    """Check that answers (rows, outputs) are means and then standard deviations above 0."""
    outputs = answers.shape[1]
    if outputs % 2 or not (answers[:, outputs // 2 :] > 0).all():
        raise CannotExport(
            "noise: learned means that the outputs are means and then as many standard deviations, all above 0; the"
            f" {outputs} outputs of this file are not"
        )


def _checked(network: Network, exported: Exported, *, random: bool) -> Verified:
    try:
        return verify(network.original, exported, network.example)
    except TrainingError as error:  # from the file's own network, too
        advice = freed_advice(network.fixed_rows) + random * f"; {RANDOM_ADVICE}"
        raise VerificationFailed(f"{error.message}{advice}", **error.details) from None


def _describe(network: Network, exported: Exported, *, random: bool) -> Iterator[str]:
    sites = ", ".join(f"{site.name} (p = {site.p:g})" for site in exported.sites)
    yield f"drops units at {len(exported.sites)} of its nodes: {sites}"
    if exported.bypassed:
        yield f"does not drop at {len(exported.bypassed)} others: {', '.join(exported.bypassed_sites)}"
    if exported.ending.note:
        yield exported.ending.note
    if network.fixed_rows is not None:
        yield f"the file takes {network.fixed_rows} rows at a time; it now takes any number"
    if random:
        yield f"no rows were given: {EXAMPLE_ROWS} random rows are used, also for the golden answers"
