"""The fields of inference requests, and the sampling that they define for a model."""

import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from service.config import Settings
from service.engine.sampling import Ablation, Sampling, StopRule, share_of_units
from service.errors import InvalidInput, LimitExceeded
from service.model.manifest import Manifest

MAX_JSON_INTEGER = 2**63 - 1
MAX_QUANTILES = 100
MAX_DRAWN_SEED = 2**53 - 1
"""The largest random seed, which clients with double-precision numbers represent exactly."""

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_JSON_INTEGER)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
"""A fraction strictly between 0 and 1."""


class AdaptiveSamples(msgspec.Struct, forbid_unknown_fields=True):
    """Adaptive sampling: samples are added until a row's means are precise enough or its leading class is certain."""

    max: Count
    tolerance: Annotated[float, msgspec.Meta(gt=0)] | None = None
    confidence: Share | None = None


class Ablate(msgspec.Struct, forbid_unknown_fields=True):
    """Units of a dropout site set to zero: by number, or a fraction chosen by the seed."""

    site: int | str
    units: list[Annotated[int, msgspec.Meta(ge=0, le=MAX_JSON_INTEGER)]] | None = None
    fraction: Share | None = None


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `/predict`; `service.api.schemas.PredictBody` documents the fields."""

    inputs: msgspec.Raw
    coverage: Share | None = None


class UncertaintyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `/uncertainty`; `service.api.schemas.UncertaintyBody` documents the fields."""

    inputs: msgspec.Raw
    samples: Count | AdaptiveSamples | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=MAX_JSON_INTEGER)] | Literal["random"] | None = None
    dropout_rate: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    ablate: list[Ablate] = []
    quantiles: list[Annotated[float, msgspec.Meta(ge=0, le=1)]] = []
    return_samples: bool = False
    error_rate: Share | None = None
    coverage: Share | None = None


def plan_sampling(request: UncertaintyRequest, manifest: Manifest, rows: int, settings: Settings) -> Sampling:
    """Return the sampling of a request with this many rows. Raises InvalidInput or LimitExceeded."""
    requested = request.samples or settings.default_samples
    passes, stop = (requested, None) if isinstance(requested, int) else (requested.max, _stop_rule(requested, manifest))
    _limit("samples", passes, settings.max_samples)
    _limit_product("samples", {"rows": rows, "samples": passes}, settings.max_row_samples)
    outputs = manifest.answers
    if request.return_samples:
        returned = {"rows": rows, "samples": passes, "outputs to return": outputs}
        _limit_product("return_samples", returned, settings.max_returned_values)
    if quantiles := len(request.quantiles):
        _limit("quantiles", quantiles, MAX_QUANTILES)
        returned = {"rows": rows, "quantiles": quantiles, "outputs to return": outputs}
        _limit_product("quantiles", returned, settings.max_returned_values)
    seed = choose_seed(request.seed, settings.seed)
    sampling = Sampling(
        passes=passes,
        seed=seed,
        stop=stop,
        dropout_rate=request.dropout_rate,
        ablations=_ablations(request.ablate, manifest, seed),
        quantiles=tuple(request.quantiles),
        keep_samples=request.return_samples,
    )
    sampling.sites(manifest)
    _refuse_unfounded(request, sampling)
    return sampling


def _refuse_unfounded(request: UncertaintyRequest, sampling: Sampling) -> None:
    """Raise InvalidInput for a threshold or coverage requested of a changed network, for which none was fitted."""
    for field, unfounded in (("error_rate", sampling.changes_network), ("coverage", bool(sampling.ablations))):
        if unfounded and getattr(request, field) is not None:
            message = f"{field}: is available for the network as it was trained, not with dropout_rate or ablate"
            raise InvalidInput(message, field=field)


def _limit(field: str, given: int, limit: int, what: str = "") -> None:
    if given > limit:
        message = f"{field}: expected at most {limit}{what}, found {given}"
        raise LimitExceeded(message, field=field, given=given, limit=limit)


def _limit_product(field: str, factors: Mapping[str, int], limit: int) -> None:
    """Raise LimitExceeded where the product of the counts, given by name, exceeds the limit."""
    given = math.prod(factors.values())
    if given > limit:
        found = " × ".join(map(str, factors.values()))
        message = f"{field}: expected at most {limit} {' × '.join(factors)}, found {found}"
        raise LimitExceeded(message, field=field, given=given, limit=limit)


def _stop_rule(requested: AdaptiveSamples, manifest: Manifest) -> StopRule:
    if requested.tolerance is None and requested.confidence is None:
        raise InvalidInput("samples: expected a tolerance or a confidence beside max", field="samples")
    if requested.confidence is not None and manifest.task != "classification":
        raise InvalidInput("samples.confidence: a regression has no leading class", field="samples.confidence")
    return StopRule(requested.tolerance, requested.confidence)


def _ablations(requested: Sequence[Ablate], manifest: Manifest, seed: int) -> tuple[Ablation, ...]:
    _limit("ablate", len(requested), len(manifest.sites), " entries, one a dropout site")
    ablations = tuple(_ablation(ablate, i, manifest, seed) for i, ablate in enumerate(requested))
    if len({ablation.site for ablation in ablations}) < len(ablations):
        raise InvalidInput("ablate: expected each dropout site once at most", field="ablate")
    return ablations


def _ablation(ablate: Ablate, place: int, manifest: Manifest, seed: int) -> Ablation:
    field = f"ablate[{place}]"
    names = [site.name for site in manifest.sites]
    site = names.index(ablate.site) if ablate.site in names else ablate.site
    if not isinstance(site, int) or not 0 <= site < len(names):
        expected = f"a site's name or number: {', '.join(f'{i} {name}' for i, name in enumerate(names))}"
        raise InvalidInput(
            f"{field}.site: expected {expected}; found {ablate.site!r}", field=f"{field}.site", expected=names
        )
    if (ablate.units is None) == (ablate.fraction is None):
        raise InvalidInput(f"{field}: expected either units or a fraction", field=field)
    units = math.prod(manifest.sites[site].shape)
    if beyond := [unit for unit in ablate.units or () if unit >= units]:
        message = f"{field}.units: expected numbers below {units}, the units of {names[site]}; found {beyond[0]}"
        raise InvalidInput(message, field=f"{field}.units", expected=units)
    if ablate.fraction is not None:
        return Ablation(site, share_of_units(seed, site, ablate.fraction, manifest.sites[site].shape))
    return Ablation(site, tuple(sorted(set(ablate.units or ()))))


def parse_version(text: str | None) -> int | None:
    """Return the version that a path names, None where it names none; raises InvalidInput when it is no number."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidInput(f"version: expected a whole number, found {text}", field="version")
    return int(text)


def choose_seed(requested: int | Literal["random"] | None, default: int) -> int:
    """Return the seed to use: the requested one, a newly drawn one for "random", or the default."""
    if requested is None:
        return default
    return secrets.randbelow(MAX_DRAWN_SEED + 1) if requested == "random" else requested
