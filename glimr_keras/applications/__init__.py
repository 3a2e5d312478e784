"""Hypermodels that are ready to use: image classifiers, and how to augment images. Worker;
constructors, driver.
"""

from glimr_keras.applications.augment import HyperImageAugment
from glimr_keras.applications.efficientnet import HyperEfficientNet
from glimr_keras.applications.resnet import HyperResNet
from glimr_keras.applications.xception import HyperXception

__all__ = ["HyperEfficientNet", "HyperImageAugment", "HyperResNet", "HyperXception"]
