# DeepSpeed's ZeRO stage 2: gradients and the optimizer's states are spread over all processes. Weights are
# float32, and the backbone computes in bfloat16. It needs pip install 'swinv2_dense[deepspeed]'.
strategy = dict(
    type="swinv2_dense.DeepSpeedZeroStrategy",
    mixed_precision="bfloat16",
    zero_optimization=dict(stage=2, overlap_comm=True, contiguous_gradients=True),
)
