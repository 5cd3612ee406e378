"""TIFFs that store band after band, as height x width x bands. Needs mmcv."""

from __future__ import annotations

from typing import Any

from mmcv.transforms import BaseTransform

from swinv2_dense.checks.tiff_bands import bands_last, read_bands
from swinv2_dense.registry import TRANSFORMS

__all__ = ["BandsLast"]


@TRANSFORMS.register_module()
class BandsLast(BaseTransform):
    """Puts the bands of a TIFF behind height and width, where the file stores them before.

    Stands behind ``LoadImageFromFile(color_type='unchanged', imdecode_backend='tifffile')``, which leaves them where
    they are: an image of 6 bands would be taken for one of 6 rows. Training and testing put it there.

    Required keys: ``img``, ``img_path``. Modified keys: ``img``, ``img_shape``, ``ori_shape``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        bands = read_bands(results["img_path"]) if "://" not in str(results["img_path"]) else None
        if bands is not None and bands.first:
            image = results["img"] = bands_last(results["img"], bands)
            results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
