"""The TensorBoard service's resources as messages."""

from typing import Any, Final

from tensordeck import protos
from tensordeck.services.blob_objects import bucket_name
from tensordeck.services.etags import etag
from tensordeck.services.times import set_micros, set_nanos
from tensordeck.store.contract import NO_WALL_TIME, SeriesSummary
from tensordeck.store.resources import Experiment, Run, Tensorboard, TimeSeries

NO_POINTS: Final = SeriesSummary()


def tensorboard_message(record: Tensorboard) -> Any:
    """An instance."""
    message = protos.message("Tensorboard")(
        name=record.name,
        display_name=record.display_name,
        description=record.description,
        blob_storage_path_prefix=bucket_name(record.name),
        run_count=record.run_count,
        labels=record.labels,
        etag=etag(record),
        is_default=record.is_default,
    )
    if record.kms_key_name:
        message.encryption_spec.kms_key_name = record.kms_key_name
    return _timed(message, record)


def experiment_message(record: Experiment) -> Any:
    """An experiment."""
    message = protos.message("TensorboardExperiment")(
        name=record.name,
        display_name=record.display_name,
        description=record.description,
        labels=record.labels,
        etag=etag(record),
        source=record.source,
    )
    return _timed(message, record)


def run_message(record: Run) -> Any:
    """A run."""
    message = protos.message("TensorboardRun")(
        name=record.name,
        display_name=record.display_name,
        description=record.description,
        labels=record.labels,
        etag=etag(record),
    )
    return _timed(message, record)


def series_message(record: TimeSeries, summary: SeriesSummary = NO_POINTS) -> Any:
    """A time series, with what is known of its points."""
    message = protos.message("TensorboardTimeSeries")(
        name=record.name,
        display_name=record.display_name,
        description=record.description,
        value_type=int(record.value_type),
        etag=etag(record),
        plugin_name=record.plugin_name,
        plugin_data=record.plugin_data,
    )
    if summary.count:
        message.metadata.max_step = summary.max_step
        message.metadata.max_blob_sequence_length = summary.max_blob_length
        if summary.max_wall_ns != NO_WALL_TIME:
            set_nanos(message.metadata.max_wall_time, summary.max_wall_ns)
    return _timed(message, record)


def _timed(message: Any, record: Tensorboard | Experiment | Run | TimeSeries) -> Any:
    set_micros(message.create_time, record.create_time)
    set_micros(message.update_time, record.update_time)
    return message
