"""Models as files that run without this package: ONNX and torch.export, checked against the model when written."""

from swinv2_dense.export.checking import Deviation
from swinv2_dense.export.exporting import ExportReport, export
from swinv2_dense.export.loaded import ExportedModel, load

__all__ = ["Deviation", "ExportReport", "ExportedModel", "export", "load"]
