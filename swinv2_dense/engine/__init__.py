"""What training and testing need beside the model: optimizer groups, safe weight loading, checks before a run.

Importing it registers our types; it needs mmengine only.
"""

from swinv2_dense.engine.hooks.amplitude_hook import AmplitudeHook
from swinv2_dense.engine.hooks.checkpoint_hook import SafeCheckpointHook
from swinv2_dense.engine.hooks.nonfinite_hook import NonFiniteLossHook
from swinv2_dense.engine.hooks.preemption_hook import PreemptionHook
from swinv2_dense.engine.hooks.randomness_hook import RandomnessHook, SkippingBatchSampler, worker_init
from swinv2_dense.engine.hooks.reconstruction_hook import ReconstructionHook
from swinv2_dense.engine.optimizers.amp import BackboneAmpOptimWrapper
from swinv2_dense.engine.optimizers.layer_decay import LayerDecayOptimWrapperConstructor
from swinv2_dense.engine.runner.class_map_dump import DumpClassMaps

__all__ = [
    "AmplitudeHook",
    "BackboneAmpOptimWrapper",
    "DumpClassMaps",
    "LayerDecayOptimWrapperConstructor",
    "NonFiniteLossHook",
    "PreemptionHook",
    "RandomnessHook",
    "ReconstructionHook",
    "SafeCheckpointHook",
    "SkippingBatchSampler",
    "worker_init",
]
