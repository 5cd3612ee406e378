# Mean and standard deviation of ImageNet's images (0 to 255, RGB), which all released SwinV2 weights were trained with.
imagenet_normalization = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
