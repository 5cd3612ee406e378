"""What setup.cfg cannot say; everything else is there."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

STARTUP = Path("swinv2_dense/compat")


class BuildWithStartup(build_py):
    """Puts ``swinv2_dense_startup``, which Python imports when it starts, beside the package."""

    def run(self) -> None:
        super().run()
        # of an editable install only what lies in the folder of its wheel is installed
        folder = self.get_finalized_command("install").install_lib if self.editable_mode else self.build_lib
        for suffix in ("py", "pth"):
            self.copy_file(str(STARTUP / f"swinv2_dense_startup.{suffix}"), folder)


setup(cmdclass={"build_py": BuildWithStartup})
