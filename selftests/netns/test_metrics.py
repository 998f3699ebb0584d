# SPDX-License-Identifier: GPL-2.0-only
"""What machines read: /metrics, /healthz, and --json everywhere."""

import collections
import contextlib
import re
import time

import pytest

from lab.kernel import promtool
from lab.lab import REASONS, SERVER
from lab.netns import wait_for
from lab.traffic import TcpEcho, UdpEcho, http, ping, tcp_connect, tcp_try, udp_try

pytestmark = pytest.mark.modes("xdp")
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
ECHO = "accept forward wan -> lan proto tcp to port 7 label echo\n"


@pytest.fixture
def used(lab):
    """The lab with rules and a little traffic of every kind."""
    lab.load(DENY + ECHO + "accept forward wan -> lan proto icmp type echo-request label ping\n")
    with TcpEcho(lab.server, SERVER[4], 7):
        assert tcp_try(lab.client, SERVER[4], 7) == "ok"
        assert tcp_try(lab.client, SERVER[4], 8, timeout=0.1) == "timeout"
    assert ping(lab.client, SERVER[6])
    return lab


def samples(text):
    """name{labels} -> value; each of them once."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#"]
    values = {name: float(value) for name, value in lines}
    assert len(values) == len(lines), [n for n, k in collections.Counter(
        name for name, _ in lines).items() if k > 1]
    return values


@pytest.mark.needs("promtool")
def test_promtool(used):
    """Clean under `promtool check metrics`."""
    _, _, body = http(used.firewall, "/metrics")
    done = used.firewall.run(promtool(), "check", "metrics", input=body, stdin=None, check=False)
    assert done.returncode == 0 and not done.stdout and not done.stderr, (
        done.stdout + done.stderr)


def test_metrics(used):
    """Prefix, no addresses, and the numbers that the status has."""
    status, headers, body = http(used.firewall, "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    values = samples(body)
    assert all(re.match(r"(fwctl|process)_", name) for name in values)
    for address in ("192.0.2.", "198.51.100.", "2001:db8"):
        assert address not in body
    drops = {k: v for k, v in values.items() if k.startswith("fwctl_drops_total")}
    assert any('reason="default"' in k and v >= 1 for k, v in drops.items()), drops
    reasons = set(re.findall(r'reason="([^"]+)"', body))
    assert reasons <= set(REASONS), reasons
    assert any('"echo"' in k and v >= 1 for k, v in values.items()
               if k.startswith("fwctl_rule_")), body
    assert body.endswith("\n")
    for name in ("state_writes", "lives_shortened"):
        assert f"fwctl_mirror_{name}_total" in values and name in used.status()["mirror"]


OPENMETRICS = "application/openmetrics-text"


def test_openmetrics(used):
    """By the header that Prometheus sends: the same samples, counters without _total."""
    text = http(used.firewall, "/metrics")[2]
    status, headers, body = http(
        used.firewall, "/metrics",
        accept=f"{OPENMETRICS};version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    assert status == 200
    assert headers["content-type"] == f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
    assert headers["vary"].lower() == "accept"
    assert body.endswith("\n# EOF\n") and body.count("# EOF") == 1
    assert samples(body).keys() == samples(text).keys()
    types = dict(re.findall("^# TYPE (\\S+) (\\S+)$", body, re.M))
    assert len(types) == body.count("# TYPE ") == body.count("# HELP ")
    order = []
    for name in (re.split(r"[{ ]", line)[0] for line in body.splitlines() if line[0] != "#"):
        family = name if name in types else re.sub(r"_(total|bucket|sum|count)$", "", name)
        assert (types[family] == "counter") == name.endswith("_total"), name
        if order[-1:] != [family]:
            order.append(family)
    assert len(order) == len(set(order)) and set(order) == types.keys()
    assert "# EOF" not in text and "# TYPE fwctl_drops_total counter" in text


def test_flows_by_state(lab):
    """fwctl_flows says what a list of the flows says, by protocol and state."""
    lab.load(DENY + "accept forward wan -> lan\n")

    def counted():
        values = samples(http(lab.firewall, "/metrics")[2])
        return {k: int(v) for k, v in values.items() if k.startswith("fwctl_flows{") and v}

    def listed():
        flows = collections.Counter((f["protocol"], f["state"]) for f in lab.flows())
        return {f'fwctl_flows{{protocol="{p}",state="{s}"}}': n for (p, s), n in flows.items()}

    with UdpEcho(lab.server, SERVER[4], 7), TcpEcho(lab.server, SERVER[6], 7), \
            contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(tcp_connect(lab.client, SERVER[6], 7))
            assert udp_try(lab.client, SERVER[4], 7) == "ok"
        udp_try(lab.client, SERVER[4], 8, timeout=0.1)
        assert ping(lab.client, SERVER[4])
        wait_for(lambda: counted() == listed(), 5, "the census to be what is listed")
        found = counted()
        assert found['fwctl_flows{protocol="tcp",state="ESTABLISHED"}'] == 3, found
        assert found['fwctl_flows{protocol="udp",state="REPLIED"}'] == 3, found
        assert found['fwctl_flows{protocol="icmp",state="REPLIED"}'] == 1, found
        assert sum(found.values()) == samples(http(lab.firewall, "/metrics")[2])[
            "fwctl_mirror_flows"]
    lab.firewall.run("conntrack", "-F", check=False)
    wait_for(lambda: lab.flows() is not None and counted() == listed(), 5, "the flows to go")


def test_inserts(lab):
    """Each flow of ours is an insertion."""
    lab.load(DENY + "accept forward wan -> lan proto udp\n")

    def value():
        return samples(http(lab.firewall, "/metrics")[2])["fwctl_conntrack_inserts_total"]

    before = value()
    with UdpEcho(lab.server, SERVER[4], 7):
        for _ in range(5):
            assert udp_try(lab.client, SERVER[4], 7) == "ok"
    assert value() == before + 5


def test_resyncs(used):
    """The buckets add up, and the last dump was a moment ago."""
    values = samples(http(used.firewall, "/metrics")[2])
    name = "fwctl_mirror_resync_duration_seconds"
    buckets = [v for k, v in values.items() if k.startswith(name + "_bucket")]
    assert buckets == sorted(buckets)
    count = values[f"{name}_count"]
    assert buckets[-1] == count == values["fwctl_mirror_resyncs_total"] > 0
    assert 0 < values[f"{name}_sum"] < 60
    assert abs(values["fwctl_mirror_last_sync_timestamp_seconds"] - time.time()) < 60


def test_sets_and_room(lab):
    """What is in named sets, and how much there is room for."""
    lab.load(DENY + "set some { 192.0.2.1, 192.0.2.9, 2001:db8::/32 }\nset doors { 80, 443 }\n"
             "accept in from @some proto tcp to port @doors\n")
    values = samples(http(lab.firewall, "/metrics")[2])
    assert values['fwctl_set_entries{set="some",kind="ipv4"}'] == 2
    assert values['fwctl_set_entries{set="some",kind="ipv6"}'] == 1
    assert values['fwctl_set_entries{set="doors",kind="ports"}'] == 2
    assert 0 < values["fwctl_ruleset_image_bytes"] <= values["fwctl_ruleset_image_limit_bytes"]
    assert 0 < values["fwctl_rule_counters"] <= values["fwctl_rule_counters_limit"]
    assert values["fwctl_ruleset_rules"] < values["fwctl_ruleset_rules_limit"]


@pytest.mark.needs("tcx")
def test_lost_programs(own_lab):
    """A link that somebody takes away is gone here, too, and what it should be stays."""
    lab = own_lab
    lab.load(DENY)

    def told(hook):
        values = samples(http(lab.firewall, "/metrics")[2])
        return {k: v for k, v in values.items()
                if k.startswith("fwctl_program_") and f'"fw-wan",hook="{hook}"' in k}

    name = 'fwctl_program_%s{interface="fw-wan",hook="%s"%s}'
    wanted = {name % ("wanted", "xdp", ""): 1, name % ("wanted", "tc", ""): 1}
    xdp, tc = (name % ("attached", *x) for x in (("xdp", ',mode="native"'), ("tc", ',mode="tcx"')))
    assert told("xdp") | told("tc") == wanted | {xdp: 1, tc: 1}
    index = next(i["ifindex"] for i in lab.status()["interfaces"] if i["name"] == "fw-wan")
    links = next(lab.pin_dir.glob("v*/links"))
    lab.firewall.run("bpftool", "link", "detach", "pinned", links / f"xdp_{index}")
    assert told("xdp") == {name % ("wanted", "xdp", ""): 1,
                           name % ("attached", "xdp", ',mode="none"'): 0}
    assert http(lab.firewall, "/healthz")[0] == 200
    lab.firewall.run("bpftool", "link", "detach", "pinned", links / f"egress_{index}")
    assert told("tc") == {name % ("wanted", "tc", ""): 1,
                          name % ("attached", "tc", ',mode="none"'): 0}
    status, _, body = http(lab.firewall, "/healthz")
    assert status == 503 and body == "a declared interface is not filtered\n"


@pytest.mark.needs("vm")
def test_run_time(lab):
    """What programs cost, while the kernel measures it for the whole machine."""
    lab.load(DENY + ECHO)

    def runs():
        values = samples(http(lab.firewall, "/metrics")[2])
        return values.get('fwctl_program_runs_total{hook="xdp"}'), values.get(
            'fwctl_program_run_seconds_total{hook="xdp"}')

    assert runs() == (None, None)
    lab.firewall.run("sysctl", "-w", "kernel.bpf_stats_enabled=1")
    try:
        before = runs()
        with TcpEcho(lab.server, SERVER[4], 7):
            assert tcp_try(lab.client, SERVER[4], 7) == "ok"
        now = runs()
        assert now[0] >= before[0] + 3 and now[1] > before[1]
    finally:
        lab.firewall.run("sysctl", "-w", "kernel.bpf_stats_enabled=0")
    assert runs() == (None, None)


def test_replacements_are_counted(lab):
    """`fwctl set replace`, when it did and when it did not; a trial is neither."""
    name = 'fwctl_set_replacements_total{result="%s"}'

    def counted():
        values = samples(http(lab.firewall, "/metrics")[2])
        return int(values[name % "success"]), int(values[name % "failure"])

    def replace(content, *more):
        return lab.fwctl("set", "replace", "some", "--file", lab.write("new.txt", content), *more,
                         check=False).exit

    lab.load(DENY + "set some { 192.0.2.1 }\naccept in from @some\n")
    good, bad = counted()
    assert replace("192.0.2.2\n", "--dry-run") == 0 and replace("nowhere\n", "--dry-run") == 1
    assert counted() == (good, bad)
    assert replace("192.0.2.2\n") == 0 and replace("nowhere\n") == 1
    assert counted() == (good + 1, bad + 1)


def test_drops_agree_with_status(used):
    """One truth: the sum of drops in /metrics is that of the status."""
    _, _, body = http(used.firewall, "/metrics")
    shown = sum(v for k, v in samples(body).items() if k.startswith("fwctl_drops_total"))
    assert shown == sum(used.counters().drops().values())


def test_healthz(used):
    """Alive and well."""
    status, _, _ = http(used.firewall, "/healthz")
    assert status == 200


def test_other_requests(used):
    """Anything else is refused politely."""
    assert http(used.firewall, "/nothing")[0] == 404
    assert http(used.firewall, "/metrics", "POST")[0] in (400, 404, 405)
    assert http(used.firewall, "/metrics", "HEAD")[0] == 200


def test_only_loopback(used):
    """Not to be reached from outside."""
    with pytest.raises(OSError):
        http(used.firewall, "/metrics", address="192.0.2.1")


@pytest.mark.parametrize("argv", [["status"], ["show", "rules"], ["show", "sets"], ["doctor"]],
                         ids=" ".join)
def test_json_and_text(used, argv):
    """Each view as JSON and as text."""
    document = used.fwctl(*argv, "--json").json
    assert isinstance(document, dict) and document
    assert used.fwctl(*argv).out.strip()


def test_flows_as_json(used):
    """An object a line; how many there are is one as well."""
    assert all("original" in flow for flow in used.fwctl("show", "flows", "--json").rows)
    assert set(used.fwctl("show", "flows", "count", "--json").json) == {"count", "stale"}


def test_json_of_check_and_load(used):
    """--json of what changes things, and of errors."""
    good = used.rules(DENY + ECHO)
    bad = used.write("bad.conf", "acept in\n")
    assert used.fwctl("check", "--json", good).json is not None
    assert used.fwctl("load", "--json", good).json is not None
    for verb in ("check", "load"):
        result = used.fwctl(verb, "--json", bad, check=False)
        assert result.exit == 1 and result.json["messages"][0]["line"] == 1, result


def test_status_names_modes(used):
    """The status says what runs where."""
    interfaces = {i["name"]: i for i in used.status()["interfaces"]}
    for name in ("fw-wan", "fw-lan"):
        assert interfaces[name]["mode"] == "xdp"
        assert interfaces[name]["ifindex"] > 0
