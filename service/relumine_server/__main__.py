"""Run the command line: ``python -m relumine_server``."""

from relumine_server.cli.main import main

if __name__ == "__main__":
    main()
