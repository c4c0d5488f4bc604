"""Fuzz the v2 decoder with atheris (libFuzzer), which searches for input that reaches new code.

    python -m tools.abuse.coverage_guided RUNS CORPUS

It is a process of its own: the service's modules are instrumented, and libFuzzer ends the process, with a code other
than 0 for an error that is not a refusal, or an input that takes longer than SECONDS or more than MEGABYTES.
"""

import hashlib
import sys
from pathlib import Path

import atheris

SECONDS, MEGABYTES = 10, 2048
PARSER = "v2, JSON and binary"


def main(runs: int, corpus: Path) -> None:
    """Fuzz, and exit the process."""
    with atheris.instrument_imports(include=["service.oip", "service.api", "service.rows", "service.model.categories"]):
        from tools.abuse.parsers import PARSERS, survives
    parser = PARSERS[PARSER]
    for seed in parser.seeds:
        (corpus / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    options = [f"-runs={runs}", "-max_len=4096", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", "-seed=1"]
    atheris.Setup(
        [sys.argv[0], *options, f"-artifact_prefix={corpus.parent}/", str(corpus)],
        lambda content: survives(parser, content) and None,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
