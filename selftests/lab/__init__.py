# SPDX-License-Identifier: GPL-2.0-only
"""Network namespaces with a firewall in the middle, for the tests and the demo."""
