# For schedules that count iterations.
_base_ = "./detection_runtime.py"

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2500))
log_processor = dict(by_epoch=False)
