"""How near a picture is to a photo, and a mesh to the truth."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray


def psnr(image: Float[ndarray, "h w 3"], truth: Float[ndarray, "h w 3"], mask: Bool[ndarray, "h w"] | None = None) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1], over the mask if given."""
    error = (image - truth) ** 2
    mse = float(error.mean() if mask is None else error[mask].mean())
    return float(-10 * np.log10(max(mse, 1e-10)))


def ssim(image: Float[ndarray, "h w 3"], truth: Float[ndarray, "h w 3"]) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window 11 x 11, sigma 1.5, mean over channels and pixels."""
    import cv2

    def blur(x: ndarray) -> ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)

    a, b = image.astype(np.float64), truth.astype(np.float64)
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(value[5:-5, 5:-5].mean()) if min(value.shape[:2]) > 16 else float(value.mean())


def surface_scores(
    predicted: Float[ndarray, "p 3"],
    truth: Float[ndarray, "q 3"],
    distance_to_truth: Float[ndarray, "p"] | None,
    threshold: float,
) -> dict[str, float]:
    """Precision, recall and F-score at a distance (Knapitsch et al. 2017), and the symmetric chamfer distance.

    Args:
        predicted: points on the reconstructed surface.
        truth: points on the true surface that must be found.
        distance_to_truth: distance of each predicted point to the whole true surface; to ``truth`` if None.
        threshold: same unit as the points.
    """
    from scipy.spatial import cKDTree

    if len(predicted) == 0:
        return {"precision": 0.0, "recall": 0.0, "f_score": 0.0, "chamfer": float("inf")}
    to_truth = cKDTree(truth).query(predicted)[0] if distance_to_truth is None else distance_to_truth
    to_predicted = cKDTree(predicted).query(truth)[0]
    precision, recall = float((to_truth < threshold).mean()), float((to_predicted < threshold).mean())
    f_score = 2 * precision * recall / max(precision + recall, 1e-12)
    return {
        "precision": precision, "recall": recall, "f_score": f_score,
        "chamfer": 0.5 * float(to_truth.mean() + to_predicted.mean()),
    }  # fmt: skip
