# ADE20K's scene parsing challenge (ADEChallengeData2016): 150 classes, maps with 0 for "other" (ignored) and 1 to 150.
# Training at 512 x 512, testing with the short side at 512 pixels.
import os.path as osp

dataset_type = "ADE20KDataset"
data_root = osp.join("{{'$ADE20K_ROOT:data/ade20k/'}}", "")  # with or without a slash at the end
num_classes = 150
crop_size = (512, 512)
# (long, short): the short side decides unless a picture is longer than 4:1
scale = (2048, 512)

load_map = dict(type="swinv2_dense.LoadIndexMap", num_classes=num_classes)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    load_map,
    dict(type="RandomResize", scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    load_map,  # after Resize: predictions are compared at the picture's own size
    dict(type="PackSegInputs"),
]
# --tta: six scales of the training size, each also mirrored. Scales are those of Swin V1's appendix; V2's names none.
tta_model = dict(type="SegTTAModel")
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale=(int(scale[0] * ratio), int(scale[1] * ratio)), keep_ratio=True)
                for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [dict(type="RandomFlip", prob=prob, direction="horizontal") for prob in (0.0, 1.0)],
            [load_map],
            [dict(type="PackSegInputs")],
        ],
    ),
]

train_dataloader = dict(
    batch_size=2,  # 8 GPUs x 2 = 16, the batch of the ablation
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
