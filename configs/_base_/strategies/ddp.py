# Every process has the whole model, gradients and optimizer. A view into its communication buckets saves a second copy
# of the gradients.
strategy = dict(
    type="DDPStrategy",
    model_wrapper=dict(type="MMDistributedDataParallel", broadcast_buffers=False, gradient_as_bucket_view=True),
)
