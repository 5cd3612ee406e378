# ZeRO stage 1 (section 3.5): as ddp.py, but every process keeps the optimizer's states of its share of the parameters
# alone. swinv2 train puts mmengine's ZeroRedundancyOptimizer around the config's optimizer; one process has none.
strategy = dict(
    type="swinv2_dense.ZeroRedundancyStrategy",
    model_wrapper=dict(type="MMDistributedDataParallel", broadcast_buffers=False, gradient_as_bucket_view=True),
)
