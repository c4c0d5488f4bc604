"""Make both graphs of a network's graph with dropout, for any choice of its sites."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from onnx import ModelProto

from service.model.manifest import DropoutSite, TensorSpec
from service.model.runtime import Array
from training.errors import CannotExport
from training.exporting.ending import NOTHING, Ending
from training.exporting.selection import select
from training.exporting.sharing import share_body
from training.exporting.sites import Site
from training.exporting.surgery import to_predict, to_sample
from training.exporting.weights import Weights


@dataclass(frozen=True)
class Exported:
    """Both graphs, not verified yet, and their part of the manifest."""

    predict: ModelProto
    sample: ModelProto
    sites: tuple[DropoutSite, ...]
    """The sites that stay on in samples: number i has mask_<i>."""
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec
    rows_axes: tuple[int, ...]
    """For each draw of the network the axis of the mask before which its own masks have the rows: 0 unless it puts
    another axis before its rows.
    """
    ending: Ending = NOTHING
    """The end of the network that the graphs of a classification leave to the service."""
    weights: Weights = field(default_factory=Weights)
    """The large weights of both graphs."""
    bypassed: Mapping[int, DropoutSite] = field(default_factory=dict)
    """The sites that are off in samples, by their place among the network's draws."""

    @property
    def bypassed_sites(self) -> tuple[str, ...]:
        """The names of the sites that are off in samples."""
        return tuple(site.name for site in self.bypassed.values())

    def masks_of_draws(self, masks: Sequence[Array]) -> list[Array | None]:
        """Return a mask for each of the network's draws: those of the sites, and None for a bypassed one."""
        of_sites = iter(masks)
        draws = range(len(masks) + len(self.bypassed))
        return [None if draw in self.bypassed else next(of_sites) for draw in draws]


@dataclass(frozen=True)
class DropoutGraph:
    """A flat graph with dropout, whose large weights are in a file, and its part of the manifest."""

    model: ModelProto
    sites: tuple[Site, ...]
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec
    ending: Ending
    weights: Weights

    def exported(self, sample_sites: Sequence[str] = ()) -> Exported:
        """Return both graphs, with masks at the selected sites, by default at all; raise ConfigError or
        CannotExport.
        """
        chosen = select([site.name for site in self.sites], sample_sites)
        stated = [DropoutSite(name=site.name, kind=site.kind, p=site.p, shape=site.shape) for site in self.sites]
        bypassed = {number: site for number, site in enumerate(stated) if number not in chosen}
        _refuse_alpha(bypassed)
        predict, sample = share_body(to_predict(self.model), to_sample(self.model, chosen))
        return Exported(
            predict=predict,
            sample=sample,
            sites=tuple(stated[number] for number in chosen),
            inputs=self.inputs,
            output=self.output,
            rows_axes=tuple(len(site.before) for site in self.sites),
            ending=self.ending,
            weights=self.weights,
            bypassed=bypassed,
        )


def _refuse_alpha(bypassed: Mapping[int, DropoutSite]) -> None:
    """Raise CannotExport for alpha dropout, which no mask leaves unchanged in the network that graphs are verified
    with.
    """
    for site in bypassed.values():
        if site.kind == "alpha":
            raise CannotExport(
                f"sample_sites: {site.name} is alpha dropout, which cannot be left out; select it as well"
            )
