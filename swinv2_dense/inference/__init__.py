"""From a checkpoint and an image to a result, for every task: what ``swinv2 predict`` runs.

Importing it imports no library; a model's own is imported when the model is built.
"""

from swinv2_dense.inference.model_loading import get_model, list_models
from swinv2_dense.inference.predictor import Predictor, inference_model
from swinv2_dense.inference.results import Classification, Detections, Reconstruction, Result, SegmentationMap

__all__ = [
    "Classification",
    "Detections",
    "Predictor",
    "Reconstruction",
    "Result",
    "SegmentationMap",
    "get_model",
    "inference_model",
    "list_models",
]
