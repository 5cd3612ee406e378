"""Where tests start processes of their own: forks of one that imported the libraries, once for all, and ran nothing."""

from __future__ import annotations

import multiprocessing

forkserver = multiprocessing.get_context("forkserver")
forkserver.set_forkserver_preload(  # what is not installed is left out
    [
        *("matplotlib.figure", "matplotlib.pyplot", "swinv2_dense.cli.common", "swinv2_dense.engine.runner.launch"),
        *("mmdet.datasets", "mmdet.engine", "mmdet.evaluation", "mmdet.models", "mmdet.visualization"),
        *("swinv2_dense.datasets.instaboost", "swinv2_dense.models.det_tta"),
        "swinv2_dense.engine.strategies.fully_sharded",
    ]
)
