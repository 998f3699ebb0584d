# SPDX-License-Identifier: GPL-2.0-only
"""Runs the suites on other kernels: Debian's packages, booted in QEMU."""
