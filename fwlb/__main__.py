"""`python -m fwlb` is `fwlb`."""

from fwlb.cli import main

if __name__ == "__main__":
    main()
