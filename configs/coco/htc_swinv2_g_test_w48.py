# The weights of htc_swinv2_g.py, tested with a window of 48 tokens.
#
# Source:  arXiv 2111.09883, system-level comparison on COCO: test at 1100, window 48.
# Command: COCO_ROOT=data/coco/ tools/dist_test.sh configs/coco/htc_swinv2_g_test_w48.py \
#              work_dirs/htc_swinv2_g/iter_45000.pth 8
# Paper:   box AP 61.9, mask AP 53.4 on val2017 (mini-val), reported in the paper. Not reproduced here.
_base_ = "./htc_swinv2_g.py"

model = dict(backbone=dict(window_size=48))
