import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as to_numpy
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from keras_ae import InputError
from keras_ae.objectives import PSNR, SSIM, SSIMLoss, get_loss
from keras_ae.objectives.images import PSNRLoss

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((5, 17, 14, 3), dtype="float32")
OTHERS = np.clip(IMAGES + RANDOM.normal(0, 0.1, IMAGES.shape), 0, 1).astype("float32")


def windows(images, size=11):
    """Gaussian means over whole windows, (height - size + 1, width - size + 1, channels)."""
    line = np.exp(-0.5 * (np.arange(size) - size // 2) ** 2 / 1.5**2)
    kernel = np.outer(line, line) / line.sum() ** 2
    return np.einsum("hwcij,ij->hwc", np.lib.stride_tricks.sliding_window_view(images, (size, size), (0, 1)), kernel)


def reference_ssim(a, b, size=11):
    """Wang et al. 2004, equation 13."""
    a, b = a.astype("float64"), b.astype("float64")
    mean_a, mean_b = windows(a, size), windows(b, size)
    var_a, var_b = windows(a * a, size) - mean_a**2, windows(b * b, size) - mean_b**2
    covariance = windows(a * b, size) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    found = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (found / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def test_ssim_is_that_of_scikit_image():
    settings = {"gaussian_weights": True, "use_sample_covariance": False, "channel_axis": -1, "data_range": 1.0}
    expected = [structural_similarity(a, b, sigma=1.5, **settings) for a, b in zip(IMAGES, OTHERS, strict=True)]
    np.testing.assert_allclose(
        [reference_ssim(*pair) for pair in zip(IMAGES, OTHERS, strict=True)], expected, atol=1e-6
    )
    np.testing.assert_allclose(to_numpy(SSIMLoss(reduction=None)(IMAGES, OTHERS)), 1 - np.array(expected), atol=1e-4)
    metric = SSIM()
    metric.update_state(IMAGES[:4], OTHERS[:4])
    metric.update_state(IMAGES[4:], OTHERS[4:])  # a short last batch
    np.testing.assert_allclose(to_numpy(metric.result()), np.mean(expected), atol=1e-4)


@pytest.mark.parametrize(("height", "width", "size"), [(8, 9, 7), (9, 8, 7), (3, 17, 3), (17, 1, 1)])
def test_small_images_have_smaller_windows(height, width, size):
    image, other = np.resize(IMAGES, (1, height, width, 3)), np.resize(OTHERS, (1, height, width, 3))
    expected = reference_ssim(image[0], other[0], size=size)
    np.testing.assert_allclose(1 - to_numpy(SSIMLoss()(image, other)), expected, atol=1e-4)


def test_ssim_of_dark_even_images_is_that_of_their_means():
    a, b = 0.01, 0.03
    dark, darker = np.full((1, 12, 12, 1), b, "float32"), np.full((1, 12, 12, 1), a, "float32")
    expected = (2 * a * b + 0.01**2) / (a**2 + b**2 + 0.01**2)
    np.testing.assert_allclose(1 - to_numpy(SSIMLoss()(dark, darker)), expected, rtol=1e-4)


def test_one_missing_pixel_and_small_weights_count():
    weight = np.zeros((5, 17, 14), "float32")
    weight[:, 3, 4] = 0.5
    expected = np.mean(-10 * np.log10(np.square(IMAGES - OTHERS).mean(-1)[:, 3, 4]))
    metric = PSNR()
    metric.update_state(IMAGES, OTHERS, sample_weight=weight)
    np.testing.assert_allclose(to_numpy(metric.result()), expected, rtol=1e-5)
    of_images = np.float32([0.1, 0, 0.2, 0, 0])
    per_image = 10 * np.log10(np.square(IMAGES - OTHERS).mean((1, 2, 3)))
    loss = to_numpy(get_loss("psnr")(IMAGES, OTHERS, sample_weight=of_images))
    np.testing.assert_allclose(loss, np.average(per_image, weights=of_images), rtol=1e-5)


def test_a_batch_without_any_weight_has_no_loss():
    """Of completion, where nothing is missing: 0, and not a step that the guard skips."""
    assert to_numpy(get_loss("psnr")(IMAGES, OTHERS, sample_weight=np.zeros((5, 17, 14), "float32"))) == 0


def test_psnr_is_a_mean_over_images():
    metric = PSNR()
    metric.update_state(IMAGES[:4], OTHERS[:4])
    metric.update_state(IMAGES[4:], OTHERS[4:])
    expected = np.mean([peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(IMAGES, OTHERS, strict=True)])
    np.testing.assert_allclose(to_numpy(metric.result()), expected, rtol=1e-5)


def test_psnr_and_losses_look_at_weighted_pixels_only():
    weight = (RANDOM.random(IMAGES.shape[:3]) < 0.3).astype("float32")
    metric = PSNR()
    metric.update_state(IMAGES, OTHERS, sample_weight=weight)
    errors = [np.square(a - b)[w > 0].mean() for a, b, w in zip(IMAGES, OTHERS, weight, strict=True)]
    np.testing.assert_allclose(to_numpy(metric.result()), np.mean(-10 * np.log10(errors)), rtol=1e-5)
    weight_of_none = weight.copy()
    weight_of_none[0] = 0  # nothing of the first image is missing: it does not count
    metric.reset_state()
    metric.update_state(IMAGES, OTHERS, sample_weight=weight_of_none)
    np.testing.assert_allclose(to_numpy(metric.result()), np.mean(-10 * np.log10(errors[1:])), rtol=1e-5)
    metric.reset_state()
    metric.update_state(IMAGES, OTHERS, sample_weight=np.float32([1, 0, 0, 0, 0]))
    first = np.square(IMAGES[0] - OTHERS[0]).mean()
    np.testing.assert_allclose(to_numpy(metric.result()), -10 * np.log10(first), rtol=1e-5)
    chosen = weight > 0
    for name, reference in (("mse", np.square(IMAGES - OTHERS)), ("mae", np.abs(IMAGES - OTHERS))):
        loss = get_loss(name)(IMAGES, OTHERS, sample_weight=weight)
        np.testing.assert_allclose(to_numpy(loss), reference[chosen].mean(), rtol=1e-5)
    psnr = get_loss("psnr")
    expected = np.mean(10 * np.log10(errors))
    np.testing.assert_allclose(to_numpy(psnr(IMAGES, OTHERS, sample_weight=weight)), expected, rtol=1e-5)
    expected = np.mean(10 * np.log10(errors[1:]))
    np.testing.assert_allclose(to_numpy(psnr(IMAGES, OTHERS, sample_weight=weight_of_none)), expected, rtol=1e-5)
    image_weights = np.float32([1, 0, 3, 0, 0])
    per_image = 10 * np.log10(np.square(IMAGES - OTHERS).mean((1, 2, 3)))
    expected = (per_image * image_weights).sum() / 4
    np.testing.assert_allclose(to_numpy(psnr(IMAGES, OTHERS, sample_weight=image_weights)), expected, rtol=1e-5)
    metric.reset_state()
    metric.update_state(IMAGES, OTHERS, sample_weight=image_weights)
    np.testing.assert_allclose(to_numpy(metric.result()), -expected, rtol=1e-5)
    ssim = get_loss("ssim")  # a window spans known and missing pixels
    np.testing.assert_allclose(
        to_numpy(ssim(IMAGES, OTHERS, sample_weight=weight)), to_numpy(ssim(IMAGES, OTHERS)), rtol=1e-6
    )


def test_an_unknown_loss_is_named():
    with pytest.raises(InputError, match="known are mse, mae, ssim, psnr"):
        get_loss("lpips")
    assert isinstance(get_loss("mse"), keras.losses.MeanSquaredError)


def test_ssim_counts_weighted_images():
    metric, weight = SSIM(), np.float32([0, 1, 3, 0, 0])
    metric.update_state(IMAGES, OTHERS, sample_weight=weight)
    each = [reference_ssim(a, b) for a, b in zip(IMAGES, OTHERS, strict=True)]
    np.testing.assert_allclose(to_numpy(metric.result()), np.average(each, weights=weight), rtol=1e-4)


@pytest.mark.parametrize("weights", [None, np.float32([0, 1, 3, 0, 1]), "pixels"])
def test_psnr_loss_obeys_its_reduction(weights):
    image_weights = np.ones(5) if weights is None else weights
    error = np.square(IMAGES - OTHERS)
    per_image = error.mean((1, 2, 3))
    if isinstance(weights, str):
        weights = (RANDOM.random((5, 17, 14)) < 0.5).astype("float32")
        image_weights = np.ones(5)
        per_image = (error.mean(-1) * weights).sum((1, 2)) / weights.sum((1, 2))
    losses = 10 * np.log10(per_image) * image_weights
    expected = {
        "none": losses,
        None: losses,
        "sum": losses.sum(),
        "sum_over_batch_size": losses.mean(),
        "mean": losses.mean(),
        "mean_with_sample_weight": losses.sum() / image_weights.sum(),
    }
    for reduction, value in expected.items():
        loss = PSNRLoss.from_config(PSNRLoss(reduction=reduction).get_config())
        found = to_numpy(loss(IMAGES, OTHERS, None if weights is None else keras.ops.convert_to_tensor(weights)))
        np.testing.assert_allclose(found, value, rtol=1e-4, err_msg=str(reduction))
