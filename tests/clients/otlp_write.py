"""Exports with the OpenTelemetry SDK, over HTTP and over gRPC; the caller asks for what came of it.

usage: otlp_write.py URL
"""

import sys
import time

import grpc
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

url = sys.argv[1].rstrip("/")


def export(exporter, job):
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    resource = Resource({"service.name": job, "host.name": "h7", "k8s.cluster.name": "c1"})
    provider = MeterProvider(metric_readers=[reader], resource=resource)
    meter = provider.get_meter("scope")
    jobs = meter.create_counter("jobs", unit="{job}")
    jobs.add(3, {"queue": "a b"})
    jobs.add(4, {"queue": "a b"})
    meter.create_up_down_counter("depth").add(-2)
    wait = meter.create_histogram("wait", unit="s", explicit_bucket_boundaries_advisory=[0.5, 5.0])
    for value in [0.25, 1.0, 7.5]:
        wait.record(value)
    assert provider.force_flush(), "the export failed"
    provider.shutdown()


export(Http(endpoint=f"{url}/v1/metrics", compression=Compression.Gzip), "http")
export(Grpc(endpoint=url, insecure=True), "grpc")


def attribute(key, value):
    return common.KeyValue(key=key, value=common.AnyValue(string_value=value))


# As the Collector sends what it scraped (the SDK writes names in lower case), and a delta sum.
gpu = metrics.NumberDataPoint(
    time_unix_nano=time.time_ns(),
    as_int=41,
    attributes=[attribute("gpu", "3"), attribute("UUID", "GPU-3"), attribute("Hostname", "h7")],
)
delta = metrics.NumberDataPoint(time_unix_nano=time.time_ns(), as_double=1.5)
request = service.ExportMetricsServiceRequest(
    resource_metrics=[
        metrics.ResourceMetrics(
            scope_metrics=[
                metrics.ScopeMetrics(
                    metrics=[
                        metrics.Metric(
                            name="DCGM_FI_DEV_GPU_TEMP", gauge=metrics.Gauge(data_points=[gpu])
                        ),
                        metrics.Metric(
                            name="joules",
                            sum=metrics.Sum(data_points=[delta], aggregation_temporality=1),
                        ),
                    ]
                )
            ]
        )
    ]
)
with grpc.insecure_channel(url.removeprefix("http://")) as channel:
    partly = MetricsServiceStub(channel).Export(request).partial_success
    assert partly.rejected_data_points == 1, partly
    assert "joules: delta temporality is not stored" in partly.error_message, partly
print("exported")
