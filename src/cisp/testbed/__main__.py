"""The frozen beds from a shell: `python -m cisp.testbed list`, `... export NAME DIR`."""

from argparse import ArgumentParser
from collections.abc import Sequence

from cisp.testbed.export import export
from cisp.testbed.frozen import reference, references


def main(given: Sequence[str] | None = None) -> None:
    """List the frozen beds, or write one to a folder as plain files."""
    parser = ArgumentParser(prog="python -m cisp.testbed", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the beds, with their cards")
    one = commands.add_parser("export", help="model, sample of activations and truth of a bed")
    one.add_argument("name", choices=[*references().index], metavar="NAME")
    one.add_argument("folder", metavar="DIR")
    asked = parser.parse_args(given)
    if asked.command == "list":
        print(references().to_string())
    else:
        try:
            export(reference(asked.name), asked.folder)
        except OSError as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()
