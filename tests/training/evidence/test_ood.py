"""OOD rows, noise and rotations: unlike the test rows, but of values that the network accepts."""

import numpy as np
import pytest

from training.evidence.ood import is_square_image, noise, ood_inputs, rotate

RNG = np.random.default_rng(41)
IMAGES = RNG.uniform(0, 255, size=(5, 1, 9, 9)).astype(np.float32)


def test_noise_of_columns_keeps_each_columns_values_and_breaks_their_relation() -> None:
    first = RNG.normal(size=4000).astype(np.float32)
    categories = RNG.integers(3, size=4000).astype(np.float32)
    rows = np.stack([first, first * 100, categories], axis=1)
    made = noise(rows, RNG)
    assert (made.shape, made.dtype) == (rows.shape, rows.dtype)
    assert all(set(made[:, column]) <= set(rows[:, column]) for column in range(3))
    assert abs(np.corrcoef(made[:, 0], made[:, 1])[0, 1]) < 0.1
    np.testing.assert_allclose(made.mean(axis=0), rows.mean(axis=0), atol=10)


def test_noise_of_whole_numbers_stays_whole() -> None:
    words = RNG.integers(0, 9, size=(50, 3))
    made = noise(words, RNG)
    assert made.dtype == words.dtype
    assert set(made.ravel()) <= set(words.ravel())


def test_noise_of_images_fills_their_range() -> None:
    made = noise(IMAGES, RNG)
    assert (made.shape, made.dtype) == (IMAGES.shape, IMAGES.dtype)
    assert IMAGES.min() <= made.min() < 30
    assert 225 < made.max() <= IMAGES.max()


def test_a_quarter_turn_is_exact() -> None:
    np.testing.assert_array_equal(rotate(IMAGES, 90)[0, 0, ::-1, 0], IMAGES[0, 0, 0])  # the top becomes the left
    np.testing.assert_array_equal(rotate(rotate(IMAGES, 90), -90), IMAGES)
    np.testing.assert_array_equal(rotate(IMAGES, 0), IMAGES)


def test_other_angles_turn_the_same_way() -> None:
    np.testing.assert_allclose(rotate(IMAGES, 89.9999)[..., 1:-1, 1:-1], rotate(IMAGES, 90)[..., 1:-1, 1:-1], atol=0.1)
    turned = rotate(IMAGES, 45)
    assert (turned.shape, turned.dtype) == (IMAGES.shape, IMAGES.dtype)
    assert turned[0, 0, 0, 0] == pytest.approx(IMAGES.min())  # the corner is empty


def test_only_square_images_are_rotated() -> None:
    assert is_square_image(IMAGES)
    assert not is_square_image(IMAGES[..., :8])
    assert not is_square_image(IMAGES[:, 0])
    assert set(ood_inputs({"input": IMAGES}, 0)) == {"noise", "rotated"}
    assert set(ood_inputs({"input": IMAGES[:, 0, 0]}, 0)) == {"noise"}
    both = ood_inputs({"image": IMAGES, "size": IMAGES[:, 0, 0]}, 0)["rotated"]
    np.testing.assert_array_equal(both["size"], IMAGES[:, 0, 0])


def test_the_same_seed_gives_the_same_noise() -> None:
    rows = {"input": RNG.normal(size=(20, 3)).astype(np.float32)}
    first, again, other = (ood_inputs(rows, seed)["noise"]["input"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
