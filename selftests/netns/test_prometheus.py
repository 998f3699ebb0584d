# SPDX-License-Identifier: GPL-2.0-only
"""A real Prometheus scrapes fwctld: PromQL says what was sent. And what docs/ offers for it."""

import functools
import itertools
import json
import re

import pytest

from lab.kernel import promtool
from lab.lab import SERVER, TOP
from lab.netns import sh, wait_for
from lab.packets import UDP, Raw, frame, ip, tcp
from lab.prometheus import DOCS, Prometheus
from lab.traffic import UdpEcho, http, udp_try

UNIT_TESTS = TOP / "selftests" / "prometheus" / "alerts.test.yml"
DASHBOARD = json.loads((TOP / "docs" / "grafana" / "fwctl.json").read_text("utf-8"))
# Exported only while kernel.bpf_stats_enabled is 1, which is all of the machine's.
MEASURED = {"fwctl_program_runs_total", "fwctl_program_run_seconds_total"}
RULES = """\
default in drop
default out drop
default forward drop
set some { 192.0.2.7 }
drop forward wan -> lan proto udp to port 9 label nine
accept forward wan -> lan proto udp to port 7 label seven
accept in from @some label some
"""


@pytest.fixture(scope="module")
def prometheus(module_lab):
    """One for the lab; it sees every test's rules come."""
    with Prometheus(module_lab) as running:
        yield running


def datagram(port, payload):
    """A frame of the client to the server."""
    return frame(ip(4) / UDP(sport=5000, dport=port) / Raw(bytes(payload)))


# ---- what it scrapes -------------------------------------------------------------------


@pytest.mark.needs("prometheus")
@pytest.mark.modes("xdp", "tc")
def test_what_was_sent(lab, prometheus):
    """By rule label, by reason, by interface, in packets, bytes and flows: to the last one."""
    lab.load(RULES)
    nine, eleven = datagram(9, 100), datagram(11, 10)
    null = frame(tcp(4, 0))
    at = f'interface="fw-wan",hook="{lab.hook}"'
    replies = f'interface="fw-lan",hook="{lab.hook}"'
    # Only the hook that knows the leaving interface can judge by that: rule nine does.
    left = 'interface="fw-lan",hook="egress",verdict="drop"'
    expected = {
        'fwctl_rule_packets_total{rule="nine"}': 17,
        'fwctl_rule_bytes_total{rule="nine"}': 17 * len(nine),
        'fwctl_rule_flows_total{rule="nine"}': 0,
        'fwctl_rule_packets_total{rule="seven"}': 5,
        'fwctl_rule_flows_total{rule="seven"}': 5,
        'sum(fwctl_drops_total{reason="rule"})': 17,
        'sum(fwctl_drops_total{reason="tcp-null"})': 23,
        f'fwctl_drops_total{{{at},reason="default"}}': 31,
        'sum(fwctl_drops_total)': 71,
        f'fwctl_packets_total{{{at},verdict="drop"}}': 54,
        f'fwctl_bytes_total{{{at},verdict="drop"}}': 31 * len(eleven) + 23 * len(null),
        f"fwctl_packets_total{{{left}}}": 17,
        f"fwctl_bytes_total{{{left}}}": 17 * len(nine),
        'sum(fwctl_packets_total{interface="fw-wan",verdict="drop"})': 54,
        f'fwctl_passes_total{{{replies},reason="established"}}': 5,
        "sum(fwctl_conntrack_inserts_total)": 5,
    }
    # The rules that run now have been scraped, and whatever was sent before.
    generation = lab.generation()
    wait_for(lambda: prometheus.value("fwctl_ruleset_generation") == generation, 20,
             "the new rules to be scraped")
    before = {query: prometheus.value(query) or 0 for query in expected}
    lab.client.send_raw("eth0", [nine] * 17 + [eleven] * 31 + [null] * 23)
    with UdpEcho(lab.server, SERVER[4], 7):
        assert [udp_try(lab.client, SERVER[4], 7) for _ in range(5)] == ["ok"] * 5

    def gained():
        return {query: (prometheus.value(query) or 0) - old for query, old in before.items()}
    try:
        wait_for(lambda: gained() == expected, 20, "the numbers", interval=0.2)
    except AssertionError:
        assert gained() == expected
    # A list of the flows is a dump: those of the test before are gone.
    assert len([f for f in lab.flows() if f["protocol"] == "udp"]) == 5
    wait_for(lambda: prometheus.value('fwctl_flows{protocol="udp",state="REPLIED"}') == 5, 20,
             "the flows")


@pytest.mark.needs("prometheus")
@pytest.mark.modes("xdp")
def test_target(lab, prometheus):
    """It is up without any complaint, and speaks OpenMetrics."""
    lab.load(RULES)
    [target] = wait_for(lambda: [t for t in prometheus.api("targets")["activeTargets"]
                                 if t["health"] != "unknown"], 20, "a scrape")
    assert target["health"] == "up" and not target["lastError"], target
    assert not prometheus.complaints()
    # The text format would have the name with _total.
    [family] = prometheus.api("targets/metadata", metric="fwctl_drops")
    assert family["type"] == "counter" and family["help"], family


@pytest.mark.needs("prometheus")
@pytest.mark.modes("xdp")
def test_alert(lab, prometheus):
    """A load that fails fires its alert, and only that; one that succeeds ends it."""
    groups = prometheus.api("rules")["groups"]
    assert all(r["type"] == "alerting" for g in groups for r in g["rules"]) and groups
    lab.load(RULES)
    wait_for(lambda: not prometheus.firing(), 20, "silence")
    bad = lab.rules("interface loop = { lo { mode xdp } }\naccept in on loop\n")
    assert lab.fwctl("load", bad, check=False).exit == 4
    wait_for(lambda: prometheus.firing() == {"FwctlLastLoadFailed"}, 20, "the alert")
    lab.load(RULES)
    wait_for(lambda: not prometheus.firing(), 20, "the alert to end")
    assert all(r["health"] == "ok" for g in prometheus.api("rules")["groups"] for r in g["rules"])


# ---- the dashboard -----------------------------------------------------------------------


def panels():
    """All but headings."""
    return [p for p in DASHBOARD["panels"] if p["type"] != "row"]


def plain(expression):
    """An expression as Grafana sends it, everything chosen."""
    return re.sub(r"\$(instance|interface|job)\b", ".*", expression).replace(
        "$__rate_interval", "30s")


def expressions():
    """(panel, PromQL) of each target."""
    return [(p["title"], plain(t["expr"])) for p in panels() for t in p["targets"]]


def names_in(expression):
    """Metrics that an expression asks for; histograms by the name of their family."""
    return {re.sub(r"_(bucket|sum|count)$", "", name)
            for name in re.findall(r"\b(?:fwctl|process)_[a-z_]+", expression)}


@pytest.mark.needs("prometheus")
@pytest.mark.modes("xdp")
def test_panels(lab, prometheus):
    """Every expression of the dashboard is PromQL and finds something."""
    lab.load(RULES)
    missing = dict(itertools.groupby(expressions(), lambda pair: pair[1]))
    wanted = [e for e in missing if not names_in(e) <= MEASURED]
    wait_for(lambda: not [e for e in wanted if not prometheus.query(e)], 20,
             "all panels to show something", interval=0.5)
    for expression in missing:
        prometheus.query(expression)
    for variable in DASHBOARD["templating"]["list"][1:]:
        metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)",
                                     plain(variable["definition"])).groups()
        assert all(label in labels for labels, _ in prometheus.query(metric)), variable
        assert prometheus.query(metric), variable


@pytest.mark.needs("prometheus")
@pytest.mark.modes("xdp")
def test_as_grafana_asks(lab, prometheus):
    """Panels ask for a span of time, and so do annotations; none of it is an error."""
    lab.load(RULES)
    wait_for(lambda: prometheus.query("fwctl_ruleset_rules"), 20, "a scrape", interval=0.5)
    notes = [plain(a["expr"]) for a in DASHBOARD["annotations"]["list"] if "expr" in a]
    assert notes
    asked = {e for _, e in expressions()}
    end = float(prometheus.api("query", query="time()")["result"][1])
    for expression in asked.union(notes):
        span = prometheus.api("query_range", query=expression, start=end - 30, end=end, step=1)
        assert span["resultType"] == "matrix", (expression, span)
        assert span["result"] or names_in(expression) <= MEASURED or expression in notes \
            or not prometheus.query(expression), expression


@pytest.mark.needs("prometheus")
@pytest.mark.modes("xdp")
def test_alerts_are_evaluated(lab, prometheus):
    """Prometheus itself reads every alert and has nothing to complain of."""
    lab.load(RULES)

    def rules():
        return [r for g in prometheus.api("rules")["groups"] for r in g["rules"]]
    wait_for(lambda: all(r["health"] != "unknown" for r in rules()), 10, "a first evaluation")
    assert {r["name"] for r in rules()} == set(alert_names())
    assert not [r for r in rules() if r["health"] != "ok" or r.get("lastError")], rules()


def test_dashboard():
    """What Grafana's import looks at: version, data source chosen there, ids, places."""
    assert DASHBOARD["schemaVersion"] >= 36 and DASHBOARD["id"] is None
    assert re.fullmatch(r"[\w-]{1,40}", DASHBOARD["uid"]) and DASHBOARD["title"]
    # Nothing is asked at the import: the data source is a variable. What has to be there is.
    needed = {(r["type"], r["id"]) for r in DASHBOARD["__requires"]}
    assert DASHBOARD["__inputs"] == [] and needed == {
        ("grafana", "grafana"), ("datasource", "prometheus"),
        *(("panel", p["type"]) for p in panels())}
    source, *variables = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource",
                                                                 "prometheus")
    here = {"type": "prometheus", "uid": "${datasource}"}
    ids = [p["id"] for p in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for item in [*variables, *panels(), *DASHBOARD["annotations"]["list"]]:
        assert item["datasource"] == here, item
    for panel in panels():
        assert panel["type"] in ("timeseries", "stat") and panel["title"]
        refs = [t["refId"] for t in panel["targets"]]
        assert refs and len(refs) == len(set(refs)), panel
        assert all(t["datasource"] == here and t["expr"] for t in panel["targets"]), panel
    taken = set()
    for place in (p["gridPos"] for p in DASHBOARD["panels"]):
        cells = set(itertools.product(range(place["x"], place["x"] + place["w"]),
                                      range(place["y"], place["y"] + place["h"])))
        assert place["x"] + place["w"] <= 24 and not cells & taken, place
        taken |= cells
    known = {v["name"] for v in variables} | {"__rate_interval", "datasource"}
    text = json.dumps(DASHBOARD)
    assert set(re.findall(r"\$\{?(\w+)", text)) <= known | {"__all"}


# ---- names and rules ------------------------------------------------------------------------


@functools.cache
def alert_names():
    """Alerts of docs/prometheus/alerts.yml."""
    return re.findall(r"- alert: (\w+)", (DOCS / "alerts.yml").read_text("utf-8"))


@pytest.mark.modes("xdp")
def test_names(lab):
    """What dashboard and alerts ask for is exported, and the manual has every name."""
    lab.load(RULES)
    exported = set(re.findall(r"^# TYPE (\S+) ", http(lab.firewall, "/metrics")[2], re.M))
    alerts = re.sub(r"(?s)annotations:.*?(?=\n      - alert|\Z)", "",
                    (DOCS / "alerts.yml").read_text("utf-8"))
    asked = names_in(alerts).union(*(names_in(e) for _, e in expressions()))
    asked |= names_in(DASHBOARD["annotations"]["list"][0]["expr"])
    assert len(asked) > 30 and asked <= exported | MEASURED, asked - exported - MEASURED
    # Nothing is exported that the dashboard does not show, but for a few of the process.
    unshown = {n for n in exported if n.startswith("fwctl_")} - asked
    assert unshown <= {
        "fwctl_build_info", "fwctl_mirror_flows", "fwctl_conntrack_buckets",
        "fwctl_conntrack_reaps_total", "fwctl_last_reload_duration_seconds",
        "fwctl_mirror_last_resync_duration_seconds"}, unshown
    manual = (TOP / "docs" / "fwctld.8").read_text("utf-8")
    assert not [n for n in exported | MEASURED
                if not n.startswith("process_") and not re.search(rf"\b{n}\b", manual)]


def check(*argv):
    """Run promtool; it has nothing to complain about."""
    done = sh(promtool(), *argv, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 0 and "SUCCESS" in text, text
    assert not re.search(r"(?i)warn|lint|fail|error", text.replace(str(TOP), "")), text


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("argv", [
    ("check", "config", DOCS / "prometheus.yml"),
    ("check", "rules", "--lint=all", "--lint-fatal", DOCS / "alerts.yml"),
    ("test", "rules", UNIT_TESTS)], ids=lambda argv: " ".join(argv[:2]))
def test_promtool(argv):
    """The scrape example, the alerts, and unit tests of these."""
    check(*argv)


def test_alerts_are_tested():
    """Each alert has a unit test that it fires in, and one that it does not."""
    text = UNIT_TESTS.read_text("utf-8")
    cases = re.findall(r"alertname: (\w+)\n +exp_alerts:( \[\])?", text)
    names = alert_names()
    assert len(names) == len(set(names)) >= 5
    assert {n for n, empty in cases if empty} == {n for n, empty in cases if not empty} \
        == set(names)
