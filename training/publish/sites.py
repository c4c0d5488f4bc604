"""Choose the dropout sites of samples, and compare them with all sites."""

from collections.abc import Callable, Iterator, Sequence

from service.engine.engine import Engine
from service.errors import InvalidModel
from service.loading.load import open_graphs
from service.model.manifest import Manifest, SiteComparison
from training.errors import CannotExport, TrainingError
from training.evidence.evidence import Evidence, Log, OpenGraphs, VerifiedGraphs, fitted
from training.evidence.sites import CHOOSES, compare_sites, detection, subject_of
from training.exporting.cost import measure_work
from training.exporting.exported import DropoutGraph, Exported
from training.exporting.selection import auto_share

MISSING = "needs validation or calibration rows to choose by"
"""What the automatic choice lacks without data."""

Draft = Callable[[Exported], Manifest]
"""A function that returns the manifest of graphs before calibration."""


def chosen_sites(
    graph: DropoutGraph, sample_sites: Sequence[str], draft: Draft, evidence: Evidence, log: Log
) -> Exported:
    """Return the graphs of the selected sites.

    For `auto:SHARE` these are the fewest last ones, the cheapest, whose spread finds errors at least SHARE times as
    well as that of all sites. Raises ConfigError for a pattern that selects nothing, CannotExport, and TrainingError
    for an automatic choice without rows.
    """
    share = auto_share(sample_sites)
    if share is None:
        return graph.exported(sample_sites)
    if not any(part in evidence.parts for part in CHOOSES):
        raise TrainingError(f"sample_sites: auto:{share:g} {MISSING}")
    return _fewest(graph, share, draft, evidence, log)


def _fewest(graph: DropoutGraph, share: float, draft: Draft, evidence: Evidence, log: Log) -> Exported:
    everything = graph.exported()
    engine = _engine(everything, draft(everything), evidence)
    subject = subject_of(evidence, CHOOSES, engine)
    assert subject is not None
    of_all, rows = detection(subject.answers(engine), subject.targets), f"{len(subject.targets)} {subject.part} rows"
    if not of_all > 0:
        log(f"sites: all, as their spread finds no errors among {rows}")
        return everything
    for count, candidate in _last_sites(graph):
        found = detection(subject.answers(_engine(candidate, draft(candidate), evidence)), subject.targets)
        log(f"sites: last:{count} finds errors at {found:.4f}, all at {of_all:.4f}, on {rows}")
        if found >= share * of_all:
            return candidate
    return everything


def _last_sites(graph: DropoutGraph) -> Iterator[tuple[int, Exported]]:
    """Yield the graphs of the last sites, fewest first, without those that leave out what cannot be left out."""
    for count in range(1, len(graph.sites)):
        try:
            yield count, graph.exported((f"last:{count}",))
        except CannotExport:
            continue


def compared(
    manifest: Manifest, graphs: VerifiedGraphs, everything: Callable[[], Exported], evidence: Evidence, log: Log
) -> Manifest:
    """Return the manifest with a comparison to the graphs of all sites, where there are rows and others than these."""
    if not manifest.bypassed_sites or not evidence.parts:
        return manifest
    try:
        others = everything()
        engine = _engine(others, with_graphs(manifest, others), evidence)
    except (CannotExport, InvalidModel) as error:
        log(f"sites: not compared with all sites: {error.message}")
        return manifest
    found = compare_sites(graphs.engine(manifest), engine, evidence)
    if found:
        log(_describe(found, manifest, len(others.sites)))
    return manifest.model_copy(update={"site_comparison": found})


def with_graphs(manifest: Manifest, exported: Exported) -> Manifest:
    """Return the manifest of the same network's graphs at other sites."""
    return manifest.model_copy(
        update={
            "sites": exported.sites,
            "bypassed_sites": exported.bypassed_sites,
            "work": measure_work(exported.sample),
            "predict_work": measure_work(exported.predict),
        }
    )


def _engine(exported: Exported, manifest: Manifest, evidence: Evidence) -> Engine:
    """Return an engine of graphs that are measured and not published, with temperatures of their own."""
    contents = exported.predict.SerializeToString(), exported.sample.SerializeToString()
    graphs = OpenGraphs(*open_graphs(*contents, exported.weights.folder))
    return graphs.engine(fitted(manifest, graphs, evidence, lambda _: None))


def _describe(found: SiteComparison, manifest: Manifest, sites: int) -> str:
    of_all, chosen = found.all_sites, found.sampled_sites
    return (
        f"sites: {len(manifest.sites)} of {sites}; on {found.rows} {found.part} rows the rank correlation with all is"
        f" {_number(chosen.rank_correlation)}, errors are found at {_number(chosen.detection)} instead of"
        f" {_number(of_all.detection)}, {chosen.seconds:.2g} s a row instead of {of_all.seconds:.2g}"
    )


def _number(figure: float | None) -> str:
    return "not defined" if figure is None else f"{figure:.4f}"
