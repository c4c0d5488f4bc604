# Two images: `serve`, the default, answers requests; `training` (--target training) trains, and has torch.
# --build-arg EXTRAS=log adds extras of pyproject.toml to both, by name, with commas between them.

FROM python:3.11-slim AS base
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app


# The requirements by themselves, so that no other change installs packages again
FROM base AS requirements
ARG EXTRAS=""
COPY pyproject.toml .
RUN <<EOT python
import os
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
serving = [*project["dependencies"], *extras["grpc"], *extras["remote"], *extras["tracing"]]
serving += [package for name in os.environ["EXTRAS"].split(",") if name for package in extras[name]]
Path("serving.txt").write_text("\n".join(serving))
Path("training.txt").write_text("\n".join(extras["training"]))
EOT


FROM base AS serving-packages
COPY --from=requirements /app/serving.txt .
COPY constraints.txt .
RUN python -m venv --without-pip /venv
ENV PIP_CACHE_DIR=/var/cache/pip
RUN --mount=type=cache,target=/var/cache/pip \
    /usr/local/bin/pip --python /venv/bin/python install -r serving.txt -c constraints.txt


# Empty; --build-context wheels=FOLDER puts wheels of one's own in its place, such as a torch without CUDA
FROM scratch AS wheels


FROM serving-packages AS training-packages
COPY --from=requirements /app/training.txt .
RUN --mount=type=cache,target=/var/cache/pip --mount=type=bind,from=wheels,target=/wheels \
    /usr/local/bin/pip --python /venv/bin/python install -r training.txt -c constraints.txt --find-links /wheels


FROM base AS training
# For --compile on: torch writes C++ for the CPU, and Triton C for a GPU. About 250 MB, beside torch's GB
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY --from=training-packages /venv /venv
COPY service service
COPY training training
# Libraries look up the user's name and home, and the user here may have neither
ENV HOME=/tmp USER=trainer
# Trains as the owner of the mounted models/, who alone is sure to be allowed to write there
ENTRYPOINT ["sh", "-c", "exec setpriv --reuid $(stat -c %u models) --regid $(stat -c %g models) --clear-groups --no-new-privs python -m training \"$@\"", "training"]
CMD ["train"]


# Of the packages, of Python and of Debian only what serving reads; training keeps all, as it exports with what goes here
FROM serving-packages AS trimmed
COPY deploy/image/trim.py .
# By dpkg, so that its list stays true and scanners read it; first those whose scripts need what goes then
RUN <<EOT
set -e
purge="dpkg --purge --force-depends --force-remove-essential --force-remove-protected"
$purge debconf libpam-modules libpam-modules-bin libpam-runtime util-linux-extra
$purge adduser apt debian-archive-keyring e2fsprogs gpgv login logsave mount passwd perl-base util-linux
python trim.py
rm -r /app/* /var/log/* /var/cache/*
EOT


# What the image contains, by name, version and licence: docker build --target sbom --output build/sbom .
FROM base AS bill
COPY constraints.txt pyproject.toml deploy/image/licences.py ./
RUN --mount=type=cache,target=/var/cache/pip PIP_CACHE_DIR=/var/cache/pip pip install cyclonedx-bom -c constraints.txt
RUN --mount=type=bind,from=trimmed,target=/image <<EOT
set -e
mkdir /sbom
cyclonedx-py environment /image/venv/bin/python --pyproject pyproject.toml --gather-license-texts --output-reproducible -o /sbom/sbom.cdx.json
python licences.py /sbom/sbom.cdx.json > /sbom/licences.tsv
dpkg-query --admindir /image/var/lib/dpkg --show --showformat '${Package}\t${Version}\n' > /sbom/debian.tsv
EOT


FROM scratch AS sbom
COPY --from=bill /sbom /


# From nothing, since what an image begins with stays in its layers, deleted or not
FROM scratch AS serve
COPY --from=trimmed / /
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY service service
RUN python -m compileall -q service
COPY --chmod=755 deploy/image/ready.py /usr/local/bin/ready
# A volume that is mounted there is made this user's
RUN install -d -o 10001 -g 10001 /srv/log
ENV DROPSERVE_HOST=0.0.0.0 DROPSERVE_PORT=8000 DROPSERVE_MODELS=/models DROPSERVE_CACHE=/tmp/cache
EXPOSE 8000
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["ready"]
ENTRYPOINT ["python", "-m", "service"]
CMD ["serve"]
