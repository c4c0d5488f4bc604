"""Draw docs/noisy_digits.png: the answers of the committed digits model as its digits vanish in noise.

`python -m tools.docs.make_picture` (needs the docs extra)
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from service import load_model
from service.engine.masks import MaskCache
from service.engine.sampling import Sampling
from service.engine.uncertainty import ClassUncertainty
from training.data import load_data, split_data

HERE = Path(__file__).parents[2] / "docs"
SHARES = np.linspace(0, 1, 21)
SHOWN = SHARES[::2]
SAMPLES, SEED = 100, 7


def main() -> None:
    """Run the model on the same digits with more and more pixels replaced, and plot its answers."""
    engine = load_model(HERE.parent / "models" / "digits" / "1", MaskCache(2**26))
    run = engine.manifest.training
    shares = {f"{part}_share": run[f"{part}_share"] for part in ("validation", "calibration", "test")}
    test = split_data(load_data(run["data"]), **shares, seed=run["seed"]).test
    images, truth = test.inputs.reshape(-1, 8, 8), test.targets
    rng = np.random.default_rng(SEED)
    noise, order = rng.uniform(0, 16, images.shape), rng.uniform(size=images.shape)
    right, sure, unsure_each, disagree, answers = [], [], [], [], []
    for share in SHARES:
        noisy = np.where(order < share, noise, images)
        sampled = engine.sample({"input": noisy.reshape(-1, 64).astype(np.float32)}, Sampling(SAMPLES, SEED))
        assert isinstance(sampled.uncertainty, ClassUncertainty)
        probabilities = sampled.deterministic.values
        right.append((probabilities.argmax(axis=1) == truth).mean())
        sure.append(probabilities.max(axis=1).mean())
        unsure_each.append(sampled.uncertainty.expected_entropy.mean())
        disagree.append(sampled.uncertainty.mutual_information.mean())
        answers.append((noisy[4], probabilities[4].argmax()))
    plot(answers, np.array(right), np.array(sure), np.array(unsure_each), np.array(disagree))


def plot(
    answers: list[tuple[np.ndarray, int]],
    right: np.ndarray,
    sure: np.ndarray,
    unsure_each: np.ndarray,
    disagree: np.ndarray,
) -> None:
    """Plot one digit with its answers, confidence beside accuracy, and the two parts of the uncertainty."""
    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure = plt.figure(figsize=(9, 5.6), layout="constrained")
    grid = figure.add_gridspec(3, len(SHOWN), height_ratios=[1, 2.4, 2.4])
    for column, (image, answer) in enumerate(answers[::2]):
        picture = figure.add_subplot(grid[0, column])
        picture.imshow(image, cmap="gray_r", vmin=0, vmax=16)
        picture.set_title(f"“{answer}”", fontsize=11)
        picture.set(xticks=[], yticks=[])

    above = figure.add_subplot(grid[1, :])
    above.fill_between(SHARES, right, sure, color="#fde3d3", lw=0)
    above.plot(SHARES, sure, color="#c2410c", lw=2, label="confidence: mean probability of the answer")
    above.plot(SHARES, right, color="#334155", lw=2, label="accuracy: share of right answers")
    above.set(ylim=(0, 1.05), xlim=(-0.01, 1.01), xticklabels=[])
    above.legend(frameon=False, loc="lower left", fontsize=9)

    below = figure.add_subplot(grid[2, :])
    names = ("expected entropy: uncertainty of each sample", "mutual information: disagreement of the samples")
    below.stackplot(SHARES, unsure_each, disagree, labels=names, colors=["#cbd5e1", "#f59e0b"])
    below.set(
        xlim=(-0.01, 1.01),
        xticks=SHOWN,
        xlabel=f"share of pixels replaced by noise ({SAMPLES} samples of each test row)",
        ylabel="nats",
    )
    below.legend(frameon=False, loc="upper left", fontsize=9)
    figure.savefig(HERE / "noisy_digits.png", dpi=110)


if __name__ == "__main__":
    main()
