"""Ready-made hypermodels: image classifiers and image augmentation.

Models are built in the worker, hypermodels in the driver.
"""

from glimr_keras.applications.augment import HyperImageAugment
from glimr_keras.applications.efficientnet import HyperEfficientNet
from glimr_keras.applications.resnet import HyperResNet
from glimr_keras.applications.xception import HyperXception

__all__ = ["HyperEfficientNet", "HyperImageAugment", "HyperResNet", "HyperXception"]
