"""`python -m monitor.cli` is `pain-monitor`, also where the environment's scripts are not on the path."""

from monitor.cli import main

if __name__ == "__main__":
    main()
