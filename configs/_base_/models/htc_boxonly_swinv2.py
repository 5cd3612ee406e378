# The box cascade of HTC alone, for data without masks. Its parameters have the names they have in HTC, which therefore
# starts from its weights.
_base_ = "./htc_without_semantic_swinv2.py"

model = dict(
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(
        # Interleaved, a stage's boxes are refined on the way to its mask head: without one they would not be.
        interleaved=False,
        mask_info_flow=False,
        mask_roi_extractor=None,
        mask_head=None,
    ),
)
