"""What a router tells Prometheus. Names and units by convention; docs/operations.md says what each one means."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from router.router import Router


class RouterMetrics(Collector):
    """Counters of this process, and gauges read from the router when they are asked for. What is counted for every
    frame is a plain number: a Counter's lock would cost as much as a tenth of a send."""

    def __init__(self, router: Router) -> None:
        self.registry = CollectorRegistry()
        self._router = router
        self.frames_in = self.frames_out = self.bytes_out = 0
        self.closes = Counter("coscribe_socket_closes", "Sockets closed by us", ["code"], registry=self.registry)
        self.refused_joins = Counter(
            "coscribe_joins_refused", "Handshakes refused for now", ["why"], registry=self.registry
        )
        self.moves = Counter("coscribe_moves_asked", "Clients asked to move", ["why"], registry=self.registry)
        self.drains = Counter("coscribe_drains", "Drains of this router that were begun", registry=self.registry)
        self.open_s = Histogram(
            "coscribe_document_open_seconds", "Time to read a document over HTTP", registry=self.registry
        )
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        rooms = list(self._router.rooms.values())
        yield CounterMetricFamily("coscribe_frames_received", "Frames from clients", self.frames_in)
        yield CounterMetricFamily("coscribe_frames_sent", "Frames to clients", self.frames_out)
        yield CounterMetricFamily("coscribe_sent_bytes", "Bytes to clients", self.bytes_out)
        yield GaugeMetricFamily("coscribe_sockets", "Open client sockets", len(self._router.connections))
        yield GaugeMetricFamily("coscribe_rooms", "Sections with an audience here", len(rooms))
        yield GaugeMetricFamily(
            "coscribe_operations_waiting", "Operations without an answer yet", len(self._router.waiting)
        )
        yield GaugeMetricFamily(
            "coscribe_outbox_bytes", "Bytes that wait to be written to clients",
            sum(connection.outbox.size for connection in self._router.connections.values()),
        )  # fmt: skip
        yield GaugeMetricFamily("coscribe_room_gaps", "Gaps in pub/sub that were repaired", sum(r.gaps for r in rooms))
        yield GaugeMetricFamily("coscribe_cluster_view", "View of the cluster map", self._router.view)
