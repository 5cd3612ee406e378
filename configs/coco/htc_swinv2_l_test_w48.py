# The weights of htc_swinv2_l.py, tested with a window of 48 tokens.
#
# Source:  arXiv 2111.09883, system-level comparison on COCO: test at 1100, window 48.
# Command: COCO_ROOT=data/coco/ tools/dist_test.sh configs/coco/htc_swinv2_l_test_w48.py \
#              work_dirs/htc_swinv2_l/epoch_36.pth 8
# Paper:   box AP 58.9, mask AP 51.2 on val2017 (mini-val), reported in the paper. Not reproduced here.
_base_ = "./htc_swinv2_l.py"

model = dict(backbone=dict(window_size=48))
