"""What setup.cfg cannot say; everything else is there."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

STARTUP = Path("swinv2_dense/compat")
CONFIGS = Path("configs")


class BuildPackage(build_py):
    """Puts ``swinv2_dense_startup``, which Python imports when it starts, beside the package, and the configs, which
    lie at the repository's top level, into it."""

    def run(self) -> None:
        super().run()
        # of an editable install only what lies in the folder of its wheel is installed
        folder = self.get_finalized_command("install").install_lib if self.editable_mode else self.build_lib
        for suffix in ("py", "pth"):
            self.copy_file(str(STARTUP / f"swinv2_dense_startup.{suffix}"), folder)
        if not self.editable_mode:  # there the configs are found in the checkout
            self._copy_configs()

    def _copy_configs(self) -> None:
        for path in sorted(CONFIGS.rglob("*")):
            if path.suffix in (".py", ".yml"):
                target = Path(self.build_lib, "swinv2_dense", path)
                self.mkpath(str(target.parent))
                self.copy_file(str(path), str(target))


setup(cmdclass={"build_py": BuildPackage})
