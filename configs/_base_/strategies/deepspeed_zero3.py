# DeepSpeed's ZeRO stage 3: weights, gradients and the optimizer's states are spread over all processes. Weights are
# float32, and the backbone computes in bfloat16. It needs pip install 'swinv2_dense[deepspeed]'.
strategy = dict(
    type="swinv2_dense.DeepSpeedZeroStrategy",
    mixed_precision="bfloat16",
    zero_optimization=dict(
        stage=3, overlap_comm=True, contiguous_gradients=True, stage3_gather_16bit_weights_on_model_save=True
    ),
)
