"""What KServe's storage initializer does before a predictor starts: fetch a URI into a folder; run by a Python that has
kserve[storage]."""

import sys

from kserve_storage import Storage

if __name__ == "__main__":
    Storage.download(sys.argv[1], sys.argv[2])
