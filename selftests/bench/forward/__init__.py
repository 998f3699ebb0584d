# SPDX-License-Identifier: GPL-2.0-only
"""Packets of established flows through fwctl and its peers: what forwarding one costs."""
