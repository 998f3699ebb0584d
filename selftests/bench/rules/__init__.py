# SPDX-License-Identifier: GPL-2.0-only
"""Live traffic through fwctl and its peers: what judging a packet costs."""
