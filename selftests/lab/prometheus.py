# SPDX-License-Identifier: GPL-2.0-only
"""A real Prometheus in the firewall's namespace, with the configuration of docs/prometheus."""

import http.client
import json
import math
import socket
import urllib.parse

from .kernel import prometheus
from .lab import TOP
from .netns import patience, wait_for

DOCS = TOP / "docs" / "prometheus"
ADDRESS = ("127.0.0.1", 9090)
INTERVAL = "250ms"  # in place of 15 s


class Prometheus:
    """Scrapes fwctld until the block ends."""

    def __init__(self, lab):
        self._lab = lab
        self._folder = lab.dir / "prometheus"
        self._process = None

    def __enter__(self):
        self._folder.mkdir()
        config = (DOCS / "prometheus.yml").read_text("utf-8")
        (self._folder / "prometheus.yml").write_text(config.replace("15s", INTERVAL), "utf-8")
        (self._folder / "alerts.yml").write_bytes((DOCS / "alerts.yml").read_bytes())
        with open(self._folder / "log", "wb") as log:
            self._process = self._lab.firewall.popen(
                prometheus(), f"--config.file={self._folder}/prometheus.yml",
                f"--storage.tsdb.path={self._folder}/data", "--log.level=warn",
                f"--web.listen-address={ADDRESS[0]}:{ADDRESS[1]}", stdout=log)
        try:
            wait_for(self._is_ready, 30, "Prometheus to be ready")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self._end()

    def _end(self):
        self._process.kill()  # what it has stored goes with the lab
        self._process.wait(patience(10))

    def _is_ready(self):
        assert self._process.poll() is None, (self._folder / "log").read_text("utf-8")
        try:
            return self._get("/-/ready")[0] == 200
        except OSError:
            return False

    def _get(self, path):
        with self._lab.firewall.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.settimeout(patience(10))
            s.connect(ADDRESS)
            connection = http.client.HTTPConnection(*ADDRESS)
            connection.sock = s
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def api(self, path, **arguments):
        """Data of an answer of /api/v1."""
        _, body = self._get(f"/api/v1/{path}?{urllib.parse.urlencode(arguments)}")
        document = json.loads(body)
        assert document["status"] == "success", document
        return document["data"]

    def query(self, expression):
        """What PromQL says now: [(labels, value)]."""
        data = self.api("query", query=expression)
        assert data["resultType"] == "vector", data
        return [(r["metric"], float(r["value"][1])) for r in data["result"]]

    def value(self, expression):
        """The one value of an expression, or None as long as there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found and not math.isnan(found[0][1]) else None

    def complaints(self):
        """What it has to say of what it scrapes: samples given twice, for example."""
        return (self._folder / "log").read_text("utf-8")

    def firing(self):
        """Names of the alerts that fire."""
        return {a["labels"]["alertname"] for a in self.api("alerts")["alerts"]
                if a["state"] == "firing"}
