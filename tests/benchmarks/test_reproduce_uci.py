import itertools
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from benchmarks.reproduce.cli import app
from benchmarks.reproduce.uci.experiment import Study, choose, serve, to_module
from benchmarks.reproduce.uci.figures import log_likelihood, mean_and_error, rmse
from benchmarks.reproduce.uci.protocol import splits, weight_decay
from benchmarks.reproduce.uci.stack import Stack, draw_uniform, fit, sample
from benchmarks.reproduce.uci.table import Scale, read_table
from service.engine.sampling import Sampling
from training.errors import TrainingError

WIDTHS = {1: [3, 5, 1], 2: [3, 5, 4, 1]}


def test_the_splits_are_one_stream_of_the_old_generator() -> None:
    np.random.seed(1)  # noqa: NPY002
    for train, test in splits(1030):
        order = np.random.choice(range(1030), 1030, replace=False)  # noqa: NPY002
        assert train.tolist() == order[:927].tolist()
        assert test.tolist() == order[927:].tolist()


def test_the_first_split_of_1030_rows_is_pinned() -> None:
    drawn = list(splits(1030))
    assert len(drawn) == 20
    assert drawn[0][0][:5].tolist() == [339, 244, 882, 567, 923]


def test_the_log_likelihood_is_that_of_a_mixture_of_normal_densities() -> None:
    samples, targets, tau = np.array([[1.0, 4.0], [2.0, 6.5], [2.5, 5.0]]), np.array([1.5, 5.5]), 0.7
    densities = stats.norm(loc=samples, scale=1 / math.sqrt(tau)).pdf(targets)  # (passes, rows)
    assert log_likelihood(samples, targets, tau) == pytest.approx(np.log(densities.mean(axis=0)).mean())


def test_the_log_likelihood_of_a_target_far_from_all_passes_is_finite() -> None:
    far = log_likelihood(np.zeros((4, 1)), np.array([1e3]), 2.0)
    assert far == pytest.approx(stats.norm(scale=math.sqrt(0.5)).logpdf(1e3))


def test_the_error_is_that_of_the_mean_of_the_passes() -> None:
    assert rmse(np.array([[1.0, 0.0], [3.0, 0.0]]), np.array([5.0, 4.0])) == pytest.approx(math.sqrt((9 + 16) / 2))
    assert mean_and_error([1.0, 3.0]) == pytest.approx((2.0, 1 / math.sqrt(2)))


def test_weight_decay_follows_the_paper() -> None:
    assert weight_decay(0.1, 0.5, 900) == pytest.approx(1e-4 * 0.9 / 900)


@pytest.mark.parametrize("layers", [1, 2])
def test_side_by_side_is_as_one_by_one_with_autograd(layers: int) -> None:
    rates, decays = torch.tensor([[0.1, 0.4], [0.0, 0.25]]), torch.tensor([[1e-2, 1e-3], [0.0, 5e-2]])
    random = torch.Generator().manual_seed(3)
    inputs = torch.randn(2, 20, 3, generator=random)
    targets = torch.randn(2, 20, 1, generator=random)
    stack = Stack(WIDTHS[layers], rates, decays)
    draws, mask_draw = [np.random.default_rng(i) for i in (1, 2)], np.random.default_rng(9)
    fit(stack, inputs, targets, epochs=6, batch=8, draws=draws, mask_draw=mask_draw)
    for group, member in ((0, 0), (0, 1), (1, 0), (1, 1)):
        draw, mask_draw = np.random.default_rng(1 + group), np.random.default_rng(9)
        rate, decay = float(rates[group, member]), float(decays[group, member])
        alone = train_alone(WIDTHS[layers], inputs[group], targets[group], rate, decay, draw, mask_draw)
        for (weight, bias), layer in zip(stack.layers(2 * group + member), alone, strict=True):
            torch.testing.assert_close(weight.T, layer.weight.data, atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(bias, layer.bias.data, atol=2e-5, rtol=1e-4)


def train_alone(
    widths: Sequence[int],
    inputs: Tensor,
    targets: Tensor,
    p: float,
    decay: float,
    draw: np.random.Generator,
    mask_draw: np.random.Generator,
) -> list[nn.Linear]:
    """The same training as anyone would write it: autograd, a loss with its penalty, torch's Adam."""
    linears = [nn.Linear(before, after) for before, after in itertools.pairwise(widths)]
    for linear in linears:
        limit = math.sqrt(6 / (linear.in_features + linear.out_features))
        weight = draw.uniform(-limit, limit, (linear.in_features, linear.out_features))
        linear.load_state_dict({"weight": torch.from_numpy(weight).float().T, "bias": torch.zeros(linear.out_features)})
    optimizer = torch.optim.Adam([value for linear in linears for value in linear.parameters()])
    for _ in range(6):
        for batch in torch.split(torch.from_numpy(draw.permutation(len(inputs))), 8):
            uniform = draw_uniform(mask_draw, len(batch), widths)
            reached = inputs[batch]
            for number, (linear, numbers) in enumerate(zip(linears, uniform, strict=True)):
                reached = linear(
                    reached.relu() * (numbers[0] >= p) / (1 - p) if number else reached * (numbers[0] >= p) / (1 - p)
                )
            penalty = sum((linear.weight.square().sum() for linear in linears), start=torch.zeros(()))
            loss = (reached - targets[batch]).square().mean() + decay * penalty
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return linears


def test_the_service_draws_from_the_distribution_that_was_trained() -> None:
    random = np.random.default_rng(5)
    raw, targets = random.normal(3, 10, (40, 3)), random.normal(-50, 7, 40)
    scale = Scale.of(raw, targets)
    stack = Stack(WIDTHS[2], torch.tensor([[0.2]]), torch.zeros(1, 1))
    stack.start([np.random.default_rng(1)])
    served = serve(to_module(stack.layers(0), 0.2, scale), raw.astype(np.float32))
    ours = served.draw_all({"input": raw.astype(np.float32)}, Sampling(4000, 0))[..., 0]  # (passes, rows)
    theirs = sample(stack, torch.from_numpy(scale.inputs(raw))[None], 4000, [np.random.default_rng(2)])[:, 0].numpy()
    theirs = theirs * scale.target_std + scale.target_mean
    error = np.sqrt(ours.var(axis=0) / 4000 + theirs.var(axis=0) / 4000)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 5 * error).all()
    assert ours.std(axis=0) == pytest.approx(theirs.std(axis=0), rel=0.15)


def study(tmp_path: Path, **settings: Any) -> Study:
    common = {"layers": 1, "hidden": 6, "epochs": 30, "splits": 2, "passes": 20, "validation_passes": 20, "seed": 4}
    return Study(table=read_table(write_table(tmp_path / "lines.csv")), **{"merge_taus": False, **common, **settings})


@pytest.mark.parametrize("merge_taus", [True, False])
def test_how_splits_are_grouped_changes_no_choice(merge_taus: bool, tmp_path: Path) -> None:
    lines = study(tmp_path, merge_taus=merge_taus)
    alone = [choice for split in (0, 1) for choice in choose(lines, [split])]
    for one, other in zip(alone, choose(lines, [0, 1]), strict=True):
        assert (one.split, one.p) == (other.split, other.p)
        numbers = (one.tau, one.rmse, one.log_likelihood)
        assert numbers == pytest.approx((other.tau, other.rmse, other.log_likelihood), rel=1e-4)


def test_test_rows_have_no_say_in_the_choice(tmp_path: Path) -> None:
    lines = study(tmp_path)
    _, unseen = next(splits(60))
    lines.table.inputs[unseen], lines.table.targets[unseen] = np.nan, np.nan
    assert math.isfinite(choose(lines, [0])[0].log_likelihood)


def write_table(path: Path, rows: int = 60) -> Path:
    random = np.random.default_rng(11)
    inputs = random.normal(size=(rows, 2))
    targets = 3 * inputs[:, :1] - inputs[:, 1:] + random.normal(0, 0.1, (rows, 1))
    np.savetxt(path, np.hstack([inputs, targets]), delimiter=",", header="x0,x1,y", comments="")
    return path


def uci(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["uci", *map(str, arguments)], env={"COLUMNS": "200"})


def test_a_table_of_ones_own_is_run_from_end_to_end(tmp_path: Path) -> None:
    write_table(tmp_path / "lines.csv")
    results = tmp_path / "out" / "uci.json"
    quick = ("--splits", "2", "--epochs", "600", "--hidden", "20", "--passes", "300", "--validation-passes", "50")
    result = uci("--data", tmp_path, *quick, "--workers", "2", "--results", results)
    assert result.exit_code == 0, result.output
    (record,) = json.loads(results.read_text())
    assert (record["data"], record["layers"], record["splits"], record["rows"]) == ("lines", 1, 2, 60)
    assert [each["choice"]["split"] for each in record["each"]] == [0, 1]
    assert record["rmse"][0] == pytest.approx(np.mean([each["rmse"] for each in record["each"]]))
    assert record["rmse"][0] < 1.0  # the targets' deviation is about 3
    assert re.search(rf"lines\W+1\W+600\W+RMSE\W+{record['rmse'][0]:.3f}", result.output)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x0,z\n1,2\n", "the last name y"),
        ("", "the last name y"),
        ("x0,y\n1,2\n", "at least 20 rows"),
        ("x0,y\n" + "1,2\n" * 20 + "1,many\n", "line 22: could not convert"),
        ("x0,y\n" + "1,2\n" * 20 + "1\n", "line 22: expected 2 finite numbers; found '1'"),
        ("x0,y\n" + "1,nan\n" * 20, "line 2: expected 2 finite numbers"),
    ],
)
def test_a_file_that_is_no_table_of_numbers_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_table(file)


def test_wrong_flags_are_named(tmp_path: Path) -> None:
    write_table(tmp_path / "lines.csv")
    unknown = uci("--data", tmp_path, "--only", "lines,curves")
    assert unknown.exit_code == 2
    assert "no curves.csv" in unknown.output
    assert "there are: lines" in unknown.output
    assert "--layers: expected numbers from 1" in uci("--data", tmp_path, "--layers", "1,none").output
    assert "no file NAME.csv" in uci("--data", tmp_path / "empty").output


def test_a_column_that_never_changes_is_centred_only() -> None:
    scale = Scale.of(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([2.0, 6.0]))
    assert scale.inputs(np.array([[2.0, 6.0]])).tolist() == [[0.0, 1.0]]
    assert scale.targets(np.array([6.0])).tolist() == [[1.0]]
