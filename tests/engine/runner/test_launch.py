"""What training and testing from a config settle before anything is built."""

from __future__ import annotations

from pathlib import Path

from tests.engine.toy_run import config, run


def test_options_of_workers_do_not_matter_without_workers(tmp_path: Path) -> None:
    cfg = config(tmp_path / "work", validated=True)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=True, prefetch_factor=2)
    status, output = run(cfg)
    assert status == 0, output
