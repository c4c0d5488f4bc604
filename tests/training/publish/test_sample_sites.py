"""Models whose samples drop at some of their sites: what that costs and saves is published with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from service.loading.load import load_model
from service.model.manifest import Manifest, SiteComparison
from training.errors import CannotExport, ConfigError, TrainingError
from training.evidence.rows import Rows
from training.publish.release import publish_module

RNG = np.random.default_rng(0)
LABELS = ("no", "yes")


class Doubting(nn.Module):
    """The answer is the sign of the first number. Each of three sites disturbs it by pairs of units that are equal, so
    that nothing of them is left without dropout: as much as the number of its row says, times its weight.
    """

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weights = weights
        self.first, self.second, self.third = nn.Dropout(0.5), nn.Dropout(0.5), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        answer = x[:, :1]
        for place, (drop, weight) in enumerate(
            zip((self.first, self.second, self.third), self.weights, strict=True), start=1
        ):
            pair = drop(torch.cat([x[:, place : place + 1]] * 2, 1))
            answer = answer + weight * (pair[:, :1] - pair[:, 1:])
        return torch.cat([-answer, answer], 1)


def doubtful(rows: int, informative: int) -> Rows:
    """A third of the answers are wrong, and the number of the informative site says which; others say nothing."""
    answer, wrong = RNG.choice((-1.0, 1.0), rows), RNG.random(rows) < 1 / 3
    inputs = np.column_stack([answer, *RNG.uniform(0.5, 1.5, (3, rows))]).astype(np.float32)
    inputs[:, 1 + informative] = wrong
    return Rows((inputs,), ((answer > 0) ^ wrong).astype(int))


def published(folder: Path, module: nn.Module, **options: Any) -> tuple[Path, Manifest]:
    example = options.pop("example", RNG.normal(size=(9, 4)).astype(np.float32))
    return publish_module(module, (example,), name="net", models=folder, **{"labels": LABELS, **options})


def test_what_fewer_sites_cost_is_in_the_manifest_and_on_the_card(tmp_path: Path) -> None:
    """The first site, which knows what is wrong, is left out."""
    rows, said = doubtful(300, informative=0), []  # type: ignore[var-annotated]
    folder, manifest = published(
        tmp_path, Doubting(3, 0.1, 0.1), sample_sites=("last:2",), calibration=rows, test=rows, log=said.append
    )
    found = manifest.site_comparison
    assert found is not None
    assert (found.part, found.rows) == ("calibration", 300)
    assert [site.name for site in manifest.sites] == ["second", "third"]
    assert manifest.bypassed_sites == ("first",)
    everything, sampled = found.all_sites, found.sampled_sites
    assert everything.detection == pytest.approx(1, abs=0.01)
    assert sampled.detection == pytest.approx(0.5, abs=0.1)
    assert (everything.rank_correlation or 0) > 0.2 + (sampled.rank_correlation or 9)
    card = (folder / "MODEL_CARD.md").read_text()
    assert "Its other dropout is off in samples, too: first." in card
    assert f"| AUROC of wrong answers by it | {everything.detection:.4f} | {sampled.detection:.4f} |" in card
    assert "Compared on 300 calibration rows." in card
    assert [line for line in said if line.startswith("sites: 2 of 3; on 300 calibration rows")]
    assert load_model(folder).manifest == manifest


def test_samples_of_late_sites_take_less_time_than_those_of_all(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Dropout(0.2), nn.Linear(4, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(1000, 2),
    )  # fmt: skip
    inputs, targets = RNG.normal(size=(50, 4)).astype(np.float32), np.arange(50) % 2
    _, manifest = published(tmp_path, module, sample_sites=("last:1",), test=Rows((inputs,), targets), passes=10)
    assert isinstance(manifest.site_comparison, SiteComparison)
    assert manifest.site_comparison.part == "test"
    assert manifest.site_comparison.sampled_sites.seconds < manifest.site_comparison.all_sites.seconds / 2
    assert manifest.work
    assert manifest.work.multiply_adds == 2000


def test_a_regression_is_compared_by_its_errors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 2))
    inputs, targets = RNG.normal(size=(60, 4)).astype(np.float32), RNG.normal(size=(60, 2))
    rows = Rows((inputs,), targets)
    folder, manifest = published(tmp_path, module, sample_sites=("3",), labels=(), validation=rows, passes=20)
    assert manifest.site_comparison is not None
    assert manifest.site_comparison.part == "validation"
    assert -1 <= (manifest.site_comparison.sampled_sites.detection or 9) <= 1
    assert "rank correlation of it with the absolute error" in (folder / "MODEL_CARD.md").read_text()


def test_nothing_is_compared_without_rows_or_where_all_sites_are_sampled(tmp_path: Path) -> None:
    _, without = published(tmp_path, Doubting(1, 1, 1), sample_sites=("third",))
    assert (without.site_comparison, without.bypassed_sites) == (None, ("first", "second"))
    for patterns in ((), ("*",)):
        folder, all_sites = published(
            tmp_path, Doubting(1, 1, 1), sample_sites=patterns, test=doubtful(40, informative=0), passes=4
        )
        assert (all_sites.site_comparison, all_sites.bypassed_sites) == (None, ())
        assert "off in samples" not in (folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("share", "informative", "sampled"),
    [
        (0.95, 2, ["third"]),
        (0.95, 1, ["second", "third"]),
        (0.95, 0, ["first", "second", "third"]),
        (0.3, 0, ["third"]),  # chance is half of what all sites find
    ],
)
def test_the_fewest_last_sites_that_find_errors(
    share: float, informative: int, sampled: list[str], tmp_path: Path
) -> None:
    weights = [3.0 if place == informative else 0.05 for place in range(3)]
    _, manifest = published(
        tmp_path,
        Doubting(*weights),
        sample_sites=(f"auto:{share}",),
        validation=doubtful(300, informative),
        calibration=doubtful(300, informative),
    )
    assert [site.name for site in manifest.sites] == sampled
    assert (manifest.site_comparison is None) == (len(sampled) == 3)
    if manifest.site_comparison:
        assert manifest.site_comparison.part == "calibration"  # which did not choose


def test_all_sites_where_no_answer_is_wrong(tmp_path: Path) -> None:
    rows, said = doubtful(60, informative=0), []  # type: ignore[var-annotated]
    right = Rows(rows.inputs, (np.asarray(rows.inputs[0])[:, 0] > 0).astype(int))
    _, manifest = published(
        tmp_path, Doubting(1, 1, 1), sample_sites=("auto:0.9",), validation=right, passes=8, log=said.append
    )
    assert len(manifest.sites) == 3
    assert "sites: all, as their spread finds no errors among 60 validation rows" in said


def test_an_automatic_choice_needs_rows_that_may_choose(tmp_path: Path) -> None:
    for parts in ({}, {"test": doubtful(40, informative=0)}):
        with pytest.raises(TrainingError, match=r"sample_sites: auto:0\.95 needs validation or calibration rows"):
            published(tmp_path, Doubting(1, 1, 1), sample_sites=("auto:0.95",), **parts)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("patterns", [("auto:",), ("auto:2",), ("auto:0",), ("auto:x",), ("auto:0.9", "third")])
def test_a_share_that_is_none(patterns: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sample_sites: expected auto:SHARE alone, a share above 0 and at most 1"):
        published(tmp_path, Doubting(1, 1, 1), sample_sites=patterns)


def test_alpha_dropout_is_never_left_out_by_itself(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.AlphaDropout(0.2), nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    with pytest.raises(CannotExport, match="0 is alpha dropout"):
        published(tmp_path, module, sample_sites=("last:1",))
    rows = doubtful(60, informative=0)
    _, manifest = published(tmp_path, module, sample_sites=("auto:0.1",), validation=rows, passes=8)
    assert len(manifest.sites) == 2
