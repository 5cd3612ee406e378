"""Every private name of another library that the package uses, so that an upgrade which changes one fails here.

A name that begins with an underscore is no promise of its owner's. ``METHODS`` holds functions with the parameters that
we pass, ``ATTRIBUTES`` what a class sets in one of its methods, ``NAMES`` what a module holds. The last test reads the
package and fails for a private name that none of them lists.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[1] / "swinv2_dense"

# module:object.method -> its parameters
METHODS = {
    "mmdet.models.roi_heads.cascade_roi_head:CascadeRoIHead._bbox_forward": "self, stage, x, rois",
    "mmdet.models.roi_heads.htc_roi_head:HybridTaskCascadeRoIHead._bbox_forward": "self, stage, x, rois, semantic_feat",
    "mmdet.models.roi_heads.standard_roi_head:StandardRoIHead._bbox_forward": "self, x, rois",
    "mmdet.models.roi_heads.cascade_roi_head:CascadeRoIHead._mask_forward": "self, stage, x, rois",
    "mmdet.models.roi_heads.standard_roi_head:StandardRoIHead._mask_forward": "self, x, rois, pos_inds, bbox_feats",
    "mmengine._strategy:FSDPStrategy._init_model_weights": "self, model",
    "mmengine._strategy:DeepSpeedStrategy._wrap_model": "self, model",
    "mmengine._strategy.base:BaseStrategy._set_randomness": "self, seed, diff_rank_seed, deterministic",
    "mmengine.hooks:CheckpointHook._save_best_checkpoint": "self, runner, metrics",
    "mmengine.hooks:CheckpointHook._save_checkpoint_with_step": "self, runner, step, meta",
    "mmengine.model:BaseModel._run_forward": "self, data, mode",
    "torch.nn:Module._apply": "self, fn, recurse",
    "torch.nn.modules.module:_has_any_global_hook": "",
}
# module:class.method -> attributes of self that it sets
ATTRIBUTES = {
    "argparse:_ActionsContainer.__init__": ["_actions", "_option_string_actions"],
    "mmengine.runner:Runner.__init__": [
        *("_has_loaded", "_load_from", "_randomness_cfg", "_resume", "_train_dataloader", "_val_dataloader")
    ],
    "mmengine.runner:FlexibleRunner.__init__": [
        *("_load_from", "_randomness_cfg", "_resume", "_train_dataloader", "_val_dataloader")
    ],
    "mmengine._strategy.base:BaseStrategy._setup_env": ["_randomness"],
    "torch.nn:Module": ["_forward_hooks", "_forward_pre_hooks", "_parameters"],
    "mmengine.model:ImgDataPreprocessor.__init__": ["_channel_conversion"],
    "torch.nn:Module.register_full_backward_hook": ["_backward_hooks"],
    "torch.nn:Module.register_full_backward_pre_hook": ["_backward_pre_hooks"],
    "mmengine.dataset:BaseDataset.full_init": ["_fully_initialized"],
    "mmengine.runner:EpochBasedTrainLoop.__init__": ["_epoch", "_iter"],
    "mmengine.runner:IterBasedTrainLoop.__init__": ["_epoch", "_iter"],
    "mmengine.optim:OptimWrapper.__init__": ["_accumulative_counts"],
}
# torch.ops name -> the arguments of its schema
OPERATORS = {
    # the public operator would have to compute the forward again
    "torchvision._roi_align_backward": "grad, rois, spatial_scale, pooled_height, pooled_width, batch_size, channels, "
    "height, width, sampling_ratio, aligned",
}
# module, or module:object -> what it holds
NAMES = {
    "mmengine._strategy": ["DDPStrategy", "DeepSpeedStrategy", "FSDPStrategy"],
    "mmengine._strategy.deepspeed": ["DeepSpeedOptimWrapper"],
    "pickle": ["_Unpickler"],
    "torch._subclasses.fake_tensor": ["FakeTensorMode"],
    "mmengine.utils:ManagerMixin": ["_instance_dict"],
    "torch.fx.experimental": ["_config"],
    "torch:UntypedStorage": ["_cdata"],
    "torch": ["_is_functional_tensor"],
    "torch:Tensor": ["_version"],
    "torch.autograd:Variable": ["_execution_engine"],
    "torch.ops:aten.mm.default": ["_overloadpacket"],
    "torch.ops:aten": ["_scaled_dot_product_efficient_attention"],
    "torch.nn.modules.batchnorm": ["_BatchNorm", "_NormBase"],
    "torch.utils._python_dispatch": ["TorchDispatchMode", "is_traceable_wrapper_subclass"],
    "torch.utils._pytree": ["tree_leaves", "tree_map", "tree_map_only"],
}


# Of an extra that the tests do without: looked at where it is installed.
DEEPSPEED = {"_zero3_consolidated_16bit_state_dict"}
# What no library owns, or what is taken by way of a name that only looks private.
NOT_UPSTREAM = {"_exit"}  # os._exit, which Python documents


def _resolve(path: str) -> object:
    module, _, names = path.partition(":")
    if module == "torch.ops":  # no module, though it looks like one
        module, names = "torch", f"ops.{names}"
    found: object = importlib.import_module(module)
    for name in filter(None, names.split(".")):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("path", METHODS)
def test_parameters(path: str) -> None:
    assert ", ".join(inspect.signature(_resolve(path)).parameters) == METHODS[path]  # type: ignore[arg-type]


@pytest.mark.parametrize("path", OPERATORS)
def test_operators(path: str) -> None:
    import torchvision  # noqa: F401  registers its own

    packet: Any = _resolve(f"torch.ops:{path}")
    arguments = [argument.name for argument in packet.default._schema.arguments]
    assert ", ".join(arguments) == OPERATORS[path]


@pytest.mark.parametrize("path", ATTRIBUTES)
def test_attributes_are_set(path: str) -> None:
    source = inspect.getsource(_resolve(path))  # type: ignore[arg-type]
    assert [name for name in ATTRIBUTES[path] if f"self.{name}" not in source and f"'{name}'" not in source] == []


@pytest.mark.parametrize("path", NAMES)
def test_names_are_there(path: str) -> None:
    found = _resolve(path)
    assert [name for name in NAMES[path] if not hasattr(found, name)] == []


def test_deepspeed() -> None:
    engine = pytest.importorskip("deepspeed.runtime.engine")
    assert [name for name in DEEPSPEED if not hasattr(engine.DeepSpeedEngine, name)] == []


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _defined_by(tree: ast.AST) -> set[str]:
    """Private names that a file gives a meaning: functions, classes, constants, attributes of self."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            targets = [part for target in node.targets for part in ast.walk(target)]
            names.update(part.id for part in targets if isinstance(part, ast.Name))
            names.update(part.attr for part in targets if isinstance(part, ast.Attribute))
        elif isinstance(node, ast.AnnAssign) and (node.value is not None or isinstance(node.target, ast.Attribute)):
            names.add(node.target.id if isinstance(node.target, ast.Name) else getattr(node.target, "attr", ""))
    return names


def _private_uses(tree: ast.AST, own: set[str]) -> set[str]:
    uses = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            inherited = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
            if inherited or node.attr not in own:
                uses.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith(("swinv2_dense", "__")):
            if any(_is_private(part) for part in node.module.split(".")):
                uses.update(f"{node.module}.{alias.name}" for alias in node.names)
            uses.update(alias.name for alias in node.names if _is_private(alias.name))
    return uses


def test_every_private_name_is_listed() -> None:
    trees = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
    own = set().union(*(_defined_by(tree) for tree in trees.values()))
    listed = {path.rsplit(".", 1)[-1].rsplit(":", 1)[-1] for path in (*METHODS, *OPERATORS)}
    listed |= {name for names in (*ATTRIBUTES.values(), *NAMES.values()) for name in names} | NOT_UPSTREAM | DEEPSPEED
    listed |= {f"{module}.{name}" for module, names in NAMES.items() for name in names}
    unlisted = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path, tree in trees.items()
        for name in _private_uses(tree, own) - listed
    }
    assert sorted(unlisted) == []
