"""Child registries of mmengine's, scope ``swinv2_dense``.

A config of any OpenMMLab library reaches our types as ``type='swinv2_dense.NAME'``. ``locations`` are imported when a
name is first looked up, so importing the package stays cheap and pulls in none of mmdet, mmseg, mmaction2, mmpretrain.
"""

from mmengine import registry as root

__all__ = [
    "DATASETS",
    "DATA_SAMPLERS",
    "FUNCTIONS",
    "HOOKS",
    "METRICS",
    "MODELS",
    "OPTIM_WRAPPERS",
    "OPTIM_WRAPPER_CONSTRUCTORS",
    "STRATEGIES",
    "TRANSFORMS",
    "VISUALIZERS",
]

_SCOPE = "swinv2_dense"


def _child(name: str, parent: root.Registry, *locations: str) -> root.Registry:
    return root.Registry(name, parent=parent, scope=_SCOPE, locations=[f"{_SCOPE}.{room}" for room in locations])


MODELS = _child("model", root.MODELS, "models")
DATASETS = _child("dataset", root.DATASETS, "datasets")
TRANSFORMS = _child("transform", root.TRANSFORMS, "datasets", "datasets.image_check")
METRICS = _child("metric", root.METRICS, "datasets")
DATA_SAMPLERS = _child("data sampler", root.DATA_SAMPLERS, "engine")
FUNCTIONS = _child("function", root.FUNCTIONS, "engine")
HOOKS = _child("hook", root.HOOKS, "engine")
OPTIM_WRAPPER_CONSTRUCTORS = _child("optimizer wrapper constructor", root.OPTIM_WRAPPER_CONSTRUCTORS, "engine")
VISUALIZERS = _child("visualizer", root.VISUALIZERS, "visualization.det_visualizer")
OPTIM_WRAPPERS = _child("optimizer wrapper", root.OPTIM_WRAPPERS, "engine")
STRATEGIES = _child(
    "strategy",
    root.STRATEGIES,
    *(f"engine.strategies.{name}" for name in ("fully_sharded", "deepspeed_zero", "zero_redundancy")),
)
