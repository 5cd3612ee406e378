"""What training and testing need beside the model: optimizer groups, safe weight loading, checks before a run.

Importing it registers our types; it needs mmengine only.
"""

from swinv2_dense.engine.amp import BackboneAmpOptimWrapper
from swinv2_dense.engine.amplitude import AmplitudeHook
from swinv2_dense.engine.checkpoint_hook import SafeCheckpointHook
from swinv2_dense.engine.dump import DumpClassMaps
from swinv2_dense.engine.layer_decay import LayerDecayOptimWrapperConstructor
from swinv2_dense.engine.nonfinite import NonFiniteLossHook
from swinv2_dense.engine.preemption import PreemptionHook
from swinv2_dense.engine.randomness import RandomnessHook, SkippingBatchSampler, reader_init

__all__ = [
    "AmplitudeHook",
    "BackboneAmpOptimWrapper",
    "DumpClassMaps",
    "LayerDecayOptimWrapperConstructor",
    "NonFiniteLossHook",
    "PreemptionHook",
    "RandomnessHook",
    "SafeCheckpointHook",
    "SkippingBatchSampler",
    "reader_init",
]
