"""Write all results as one page: tables, pictures, commands, and what is not yet run."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from row_files import RESULTS, ROOT
from small_vit.errors import InputError, exit_on_input_error
from small_vit.quiet import import_keras


@dataclass(frozen=True)
class CommandLine:
    """Write report.html, one file that contains its pictures, and report.md with picture files.

    Example: python experiments/report.py --runs runs/cpu
    """

    to: Path = Path("report")
    """Folder of the report; made if absent."""
    results: Path = RESULTS
    """Folder of the measured rows."""
    runs: tuple[Path, ...] = ()
    """Folders of runs, for curves, attention and temperatures; runs without a row are left out.
    Default: runs/, if there are any."""


def main():
    """Run the command line."""
    options = tyro.cli(CommandLine, prog="report.py")
    with exit_on_input_error():
        if not options.results.is_dir():
            raise InputError(f"--results must name a folder of rows. Received: {options.results}.")
        import_keras()
        from report_page import Sources, write_report
        from small_vit.results.find_runs import find_runs, runs_in

        finished = "result.json"
        found = (
            runs_in(options.runs, finished) if options.runs else find_runs(ROOT / "runs", finished)
        )
        runs = [(run.result(), run) for run in found]
        write_report(Sources(options.results, runs, options.to))
    print(f"Written to {options.to / 'report.html'} and {options.to / 'report.md'}")


if __name__ == "__main__":
    main()
