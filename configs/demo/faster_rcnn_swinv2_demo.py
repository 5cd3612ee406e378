# Faster R-CNN with a small SwinV2: the model of configs/coco/faster_rcnn_swinv2_t.py, small enough for two CPU cores.
# Its data are those of demo/htc_swinv2_demo, without masks.
#
# Command: swinv2 demo --draw boxes; swinv2 train demo/faster_rcnn_swinv2_demo --data my_boxes
_base_ = "./mask_rcnn_swinv2_demo.py"

model = dict(
    type="FasterRCNN",
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
)


def without_masks(pipeline):
    return [dict(step, with_mask=False) if step["type"] == "LoadAnnotations" else step for step in pipeline]


train_dataloader = dict(dataset=dict(pipeline=without_masks(_base_.train_dataloader.dataset.pipeline)))
val_dataloader = dict(dataset=dict(pipeline=without_masks(_base_.val_dataloader.dataset.pipeline)))
test_dataloader = val_dataloader
val_evaluator = dict(metric="bbox")
test_evaluator = val_evaluator
