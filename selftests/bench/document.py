# SPDX-License-Identifier: GPL-2.0-only
"""Put what a program prints between the marks of a document: python3 -m bench.document FILE NAME

The text comes from standard input, as a block of code. It is an error if FILE has no mark
`<!-- NAME -->` with an `<!-- end -->` behind it.
"""

import pathlib
import sys

from bench.tables import into_document


def put(document, name, text):
    """The text of a document with `text` between the marks of that name."""
    block = "".join(f"    {line}".rstrip() + "\n" for line in text.splitlines())
    if f"<!-- {name} -->\n" not in document:
        raise SystemExit(f"no mark <!-- {name} -->")
    return into_document(document, {name: block})


def main():
    """The command line."""
    path, name = sys.argv[1:]
    path = pathlib.Path(path)
    path.write_text(put(path.read_text(encoding="utf-8"), name, sys.stdin.read()),
                    encoding="utf-8")


if __name__ == "__main__":
    main()
