# SPDX-License-Identifier: GPL-2.0-only
"""What machines read: /metrics, /healthz, and --json everywhere."""

import re

import pytest

from lab.kernel import promtool
from lab.lab import REASONS, SERVER
from lab.traffic import TcpEcho, http, ping, tcp_try

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
    """name{labels} -> value."""
    return {name: float(value) for name, value in
            (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")}


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


@pytest.mark.parametrize("argv", [["status"], ["show", "rules"], ["show", "flows"],
                                  ["show", "sets"], ["doctor"]], ids=" ".join)
def test_json_and_text(used, argv):
    """Each view as JSON and as text."""
    document = used.fwctl(*argv, "--json").json
    assert isinstance(document, dict) and document
    assert used.fwctl(*argv).out.strip()


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
