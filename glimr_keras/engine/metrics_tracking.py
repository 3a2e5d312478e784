"""The module where KerasTuner has the metrics of a trial. Re-exports only."""

from glimr_keras.trials.metrics_tracking import (
    MetricHistory,
    MetricObservation,
    MetricsTracker,
    infer_metric_direction,
)

__all__ = ["MetricHistory", "MetricObservation", "MetricsTracker", "infer_metric_direction"]
