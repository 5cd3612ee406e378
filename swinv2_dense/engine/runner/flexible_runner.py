"""mmengine's runner for strategies that shard the model."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mmengine._strategy import DeepSpeedStrategy
from mmengine.dist import barrier, is_main_process
from mmengine.runner import FlexibleRunner

from swinv2_dense.engine.runner.checked_images import CheckedImagesMixin
from swinv2_dense.engine.runner.dense_runner import OwnWeightsMixin, counting_steps, join_on_cpu
from swinv2_dense.engine.runner.plain_state import pack_history, to_plain_data, unpack_history
from swinv2_dense.engine.runner.resumable import ResumableMixin
from swinv2_dense.engine.runner.resumed_settings import following_config, loading_state
from swinv2_dense.engine.runner.training_state import RUN_ID
from swinv2_dense.files import publish, unfinished

__all__ = ["DenseFlexibleRunner"]


class DenseFlexibleRunner(ResumableMixin, OwnWeightsMixin, CheckedImagesMixin, FlexibleRunner):
    """mmengine's ``FlexibleRunner`` with what ``DenseRunner`` adds to ``Runner``.

    Under FSDP its checkpoints are those of a run on one device, and so each may be resumed by the other. DeepSpeed's
    are folders of what every process wrote, with the weights in ``mp_rank_00_model_states.pt`` up to stage 2; only its
    best ones (``save_best``) are like a single device's.
    """

    def build_strategy(self, strategy: Any = None, launcher: str = "none", **options: Any) -> Any:
        join_on_cpu(launcher, options["env_cfg"]["dist_cfg"])
        if isinstance(strategy, dict):
            strategy = {**strategy, "auto_scale_lr": counting_steps(self.cfg.get("auto_scale_lr"), self.cfg)}
        built = super().build_strategy(strategy, launcher=launcher, **options)
        if isinstance(built, DeepSpeedStrategy) and not self._resume:
            built.load_from = self._load_from
        return built

    def set_seed(self, seed: int) -> None:
        self._randomness_cfg["seed"] = seed
        self.strategy._randomness.update(self._randomness_cfg)
        self.strategy._set_randomness(**self._randomness_cfg)

    def state_of_model(self) -> dict[str, Any]:
        return self.strategy.weights() if self._deepspeed else self.strategy.model_state_dict()

    def state_of_optimizer(self) -> dict[str, Any]:
        return self.strategy.optim_state_dict()

    def load_or_resume(self) -> None:
        if self._deepspeed and not self._resume:
            return  # what it starts from was loaded before it took its own copy of the weights
        super().load_or_resume()

    @property
    def _deepspeed(self) -> bool:
        return isinstance(self.strategy, DeepSpeedStrategy)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **options: Any) -> None:
        if not self._deepspeed or not options.get("save_optimizer", True):
            super().save_checkpoint(out_dir, filename, *args, **options)
            return
        path = Path(out_dir, filename)
        state = {
            "meta": self._meta(options.get("meta") or {}, options.get("by_epoch", True)),
            "message_hub": self.message_hub.state_dict(),
        }
        self.strategy.save_checkpoint(str(unfinished(path)), extra_ckpt=to_plain_data(pack_history(state))[0])
        barrier()  # every process writes a part
        if is_main_process():
            (unfinished(path) / RUN_ID).write_text(self.run.id)
            publish(path)

    def resume(self, filename: str, *_: Any, **__: Any) -> None:
        if self._deepspeed:
            state = unpack_history(self.strategy.resume(filename))
            self.set_progress(state)
            return
        follows_config = self.follows_config()
        state = self.load_checkpoint(filename)
        with following_config(self) if follows_config else nullcontext(), loading_state(filename):
            self.strategy.load_optim_state_dict(state["optimizer"])
            if "param_schedulers" in state and not follows_config:
                self.strategy.load_scheduler_state_dict(state["param_schedulers"])
            self.set_progress(state)

    def set_progress(self, state: dict[str, Any]) -> None:
        """Take counters and log from a checkpoint."""
        self.train_loop._epoch, self.train_loop._iter = state["meta"]["epoch"], state["meta"]["iter"]
        self.message_hub.load_state_dict(state["message_hub"])
        self.logger.info(f"resumed epoch: {self.epoch}, iter: {self.iter}")
