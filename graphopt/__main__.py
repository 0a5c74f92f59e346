"""`python -m graphopt`."""

from graphopt.cli.main import main

if __name__ == "__main__":
    main()
