"""Every family of models that vitc imports, against its own framework: interpreter and object at most 2e-5 of the output's
deviation from it, at two image sizes and batches 1 and 3.

    families.py [--vitc PATH] [--only NAME] [--readme]

Each model is small, with seeded weights that have outliers and no symmetry, and is imported as its framework saves it. With
--readme the README's table of families is written from what was found."""

import argparse
import tempfile

import support
from support import ROOT, Checks
from make_vits import Importer

import family
import families_dense  # noqa: F401: registers its rows
import families_rope  # noqa: F401
import families_vit  # noqa: F401

BEGIN, END = "<!-- families: written by tests/reference/families.py --readme -->", "<!-- /families -->"


def write_readme():
    path = ROOT / "README.md"
    text = path.read_text()
    before, rest = text.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{family.table()}\n{END}{rest.split(END)[1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vitc", default=support.VITC)
    parser.add_argument("--only", help="rows whose names contain this")
    parser.add_argument("--readme", action="store_true", help="write the table of the README")
    arguments = parser.parse_args()
    support.VITC = arguments.vitc
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        run = Importer(folder, checks, True)
        for row in family.ROWS.values():
            if (arguments.only or "").lower() in row.name.lower():
                row.failed += not checks.run(row.name, family.check_row, run, row)
    if arguments.readme:
        write_readme()
    checks.finish()


if __name__ == "__main__":
    main()
