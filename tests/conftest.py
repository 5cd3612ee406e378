"""What every test shares."""

from __future__ import annotations

import gc
import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from swinv2_dense.cpu.native import library
from tests.tiny import clean_run, coco, config  # noqa: F401  fixtures of every room that reads a config

# What trains, exports, compiles, builds or starts programs, seconds each: whole files, or single tests of the others.
# `make test-fast` leaves them out.
SLOW = {
    "checkpoint/test_loading.py::test_weights_reach_a_model_with_wrappers",
    "checkpoint/test_loading.py::test_what_wrappers_add_to_names_does_not_matter",
    "checkpoint/test_writing.py",
    *("cli/test_analyze.py", "cli/test_explain.py", "cli/test_memory.py", "cli/test_segmentation.py"),
    *("cli/test_predict.py", "cli/test_serve.py", "cli/test_train.py"),
    "cli/test_main.py::test_importing_the_package_imports_no_library_and_still_registers",
    *("compat/test_mmaction.py", "compat/test_mmaction_imports.py", "compat/test_swinv2_dense_startup.py"),
    *("configs/test_ade20k.py::test_parses_dumps_and_builds_150_classes", "configs/test_coco.py"),
    *("configs/test_coco_runs.py", "configs/test_imagenet.py", "configs/test_kinetics400.py"),
    *("configs/test_simmim.py", "configs/test_simmim_weights.py"),
    *("cpu/test_linear.py::test_the_operator_is_as_torch_wants_it", "cpu/test_native.py"),
    *("datasets/test_clip_decoding.py", "datasets/test_instaboost.py", "datasets/test_video_clips.py"),
    *("demo/test_classification.py", "demo/test_classifier.py", "demo/test_detection.py", "demo/test_drawings.py"),
    *("demo/test_motion_clips.py", "demo/test_segmentation.py", "demo/test_video.py"),
    "doctor/test_main.py",
    *("engine/hooks/test_amplitude_hook.py", "engine/hooks/test_nonfinite_hook.py"),
    "docs/test_commands.py",
    *("engine/runner/test_launch.py", "engine/runner/test_resumable.py", "engine/runner/test_resumed_settings.py"),
    *("engine/runner/test_run_record.py", "engine/strategies/test_fully_sharded.py"),
    "export/test_exporting.py",
    *("inference/test_classifiers.py", "inference/test_exported_model.py", "inference/test_hosts.py"),
    "inference/test_predictor.py",
    *("measure/test_backbone_case.py", "measure/test_benchmark.py", "measure/test_whole_model_case.py"),
    *("measure/test_complexity.py", "measure/test_results.py"),
    "measure/test_simmim_table.py",
    "models/test_swin_v2.py::test_as_many_parameters_as_timm",
    "models/test_swin_v2.py::test_compiled_model_gives_the_same_features",
    "models/test_swin_v2.py::test_exported_model_gives_the_same_features",
    "models/test_upernet.py::test_whole_images_fit_into_the_memory_of_tiles_and_the_features",
    "own_data/test_settings.py",
    *("planning/test_fit.py", "planning/test_plan.py", "planning/test_step.py"),
    *("test_fuzz.py", "test_wheel.py"),
    *("visualization/test_browse.py", "visualization/test_grad_cam.py", "web/test_service.py"),
}

# Autograd counts the devices once, at the first gradient. Fake tensors make torch count a GPU that is not there, and
# with a GPU counted no process forked later may compute a gradient: so the first gradient comes before all tests.
torch.ones((), requires_grad=True).backward()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        file = item.path.relative_to(here).as_posix()
        if file in SLOW or f"{file}::{item.name.split('[')[0]}" in SLOW:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What is imported by now stays, and is not searched for garbage again: mmengine collects with every data set."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Of all generators: a crop by chance that only one test in thousands of runs would see helps nobody."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  mmcv's and mmdet's transforms draw from it
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> Iterator[None]:
    """Tiny tensors: more threads than the workers of the suite only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _kernels(request: pytest.FixtureRequest) -> None:
    """Loaded before a test: without a compiler that warns, which would fail the test that happens to come first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        there = library() is not None
    if not there and request.node.get_closest_marker("kernels"):
        pytest.skip("no C++ compiler")


def _scope_kept() -> Iterator[None]:
    """A runner leaves its library as the process's default scope, in which the next test would look up its types."""
    from mmengine.registry import DefaultScope

    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


_scope_kept_by_test = pytest.fixture(autouse=True)(_scope_kept)
_scope_kept_by_module = pytest.fixture(autouse=True, scope="module")(_scope_kept)
