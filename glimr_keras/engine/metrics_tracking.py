"""Where KerasTuner has a trial's metrics. A door: nothing is defined here."""

from glimr_keras.trials.metrics_tracking import (
    MetricHistory,
    MetricObservation,
    MetricsTracker,
    infer_metric_direction,
)

__all__ = ["MetricHistory", "MetricObservation", "MetricsTracker", "infer_metric_direction"]
