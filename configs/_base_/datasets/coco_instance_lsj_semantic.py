# The same with COCO-stuff's maps for HTC's semantic branch: COCO_ROOT/stuffthingmaps/train2017/*.png, uint8, category
# id - 1 (0 to 181), 255 where nothing is labelled (stuffthingmaps_trainval2017.zip of nightrome/cocostuff).
_base_ = "./coco_instance_lsj.py"

train_pipeline = [
    _base_.train_pipeline[0],
    dict(type="swinv2_dense.LoadInstances", with_bbox=True, with_mask=True, poly2mask=False, with_seg=True),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(
    dataset=dict(data_prefix=dict(img="train2017/", seg="stuffthingmaps/train2017/"), pipeline=train_pipeline)
)
