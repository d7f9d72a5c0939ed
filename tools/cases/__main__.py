"""Try the inputs that people bring, and print a table of the answers.

python -m tools.cases                 all of them
python -m tools.cases A B3            a section, a single one
python -m tools.cases --markdown      as a table in Markdown
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.cases.case import Case, SkippedCaseError
from tools.cases.sections import CASES
from tools.cases.workshop import Workshop
from tools.markdown_table import markdown_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one row per case; return 1 if the answer to any of them is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.cases", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("numbers", nargs="*", metavar="NUMBER", help="a case (B3) or a section (B); all by default")
    parser.add_argument("--markdown", action="store_true", help="print a table in Markdown")
    args = parser.parse_args(arguments)
    chosen = [case for case in CASES if not args.numbers or {case.number, case.number[0]} & set(args.numbers)]
    if not chosen:
        parser.error(f"no case has one of the numbers {', '.join(args.numbers)}")
    rows = []
    for case in chosen:
        verdict, answer = attempt(case)
        rows.append((case.number, case.input, answer, verdict))
        if not args.markdown:
            print(f"{case.number:4} {verdict:7} {case.input}: {answer}", flush=True)
    if args.markdown:
        print(markdown_table(("", "input", "answer", "verdict"), rows, "llll"))
    return int(any(verdict == "wrong" for *_, verdict in rows))


def attempt(case: Case) -> tuple[str, str]:
    """Try a case in a folder of its own; return `right`, `wrong` or `skipped`, and the answer or the reason."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return "right", case.run(Workshop(Path(folder)))
        except SkippedCaseError as error:
            return "skipped", str(error)
        except Exception as error:
            return "wrong", f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
