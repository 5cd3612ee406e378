# Multi-scale testing with masks. The SwinV2 paper does not list its scales. These are ours: its single scale of 1100
# and its neighbours in steps of 300, up to the 1400 that HTC++ of the Swin V1 paper trains with; each also mirrored.
# The long side keeps the bound of the single scale, 1833 : 1100.
tta_scales = [(833, 500), (1333, 800), (1833, 1100), (2333, 1400)]

tta_model = dict(type="swinv2_dense.DetMaskTTAModel")
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="Resize", scale=scale, keep_ratio=True) for scale in tta_scales],
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            # For the pictures of --show-dir only.
            [dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False)],
            [
                dict(
                    type="PackDetInputs",
                    meta_keys=(
                        "img_id",
                        "img_path",
                        "ori_shape",
                        "img_shape",
                        "scale_factor",
                        "flip",
                        "flip_direction",
                    ),
                )
            ],
        ],
    ),
]
