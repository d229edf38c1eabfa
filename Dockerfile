# The image of one sidecar. docs/image.md says how it is built behind a proxy or with a package index of your own, what
# is in it and why. Both stages have the same base: the virtual environment is made for that Python and that C library.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
# A compiler for the call path, and Python's headers where the base has none; the official image has them.
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/99build \
    headers=$(python -c 'import os, sysconfig as s; print("" if os.path.exists(s.get_path("include") + "/Python.h") else "python3-dev")') \
    && apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev $headers >/dev/null \
    && rm -rf /var/lib/apt/lists/*

# Locked by hash, and wheels only: nothing that is downloaded runs while it is installed. /opt/sidecar is what will run;
# /opt/build builds it, and sees it for its types.
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ONLY_BINARY=:all: PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements-build.lock requirements.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    python -m venv --without-pip /opt/sidecar \
    && pip --python /opt/sidecar/bin/python install --quiet --require-hashes -r requirements.lock \
    && python -m venv --without-pip /opt/build \
    && pip --python /opt/build/bin/python install --quiet --require-hashes -r requirements-build.lock \
    && packages='import sysconfig; print(sysconfig.get_path("purelib"))' \
    && /opt/sidecar/bin/python -c "$packages" > "$(/opt/build/bin/python -c "$packages")/sidecar.pth"

# The released form of the sidecar: see hatch_build.py. It is compiled, serves calls for some seconds, and is compiled
# again for what they passed through.
ARG SIDECAR_TRAIN=on
COPY LICENSE README.md hatch_build.py pyproject.toml ./
COPY hot_path hot_path
COPY policies policies
COPY sidecar sidecar
ARG SOURCE_DATE_EPOCH=1767225600
# Nobody unwinds the stack of what is compiled, and its relocations take a tenth of their room when packed: together, a
# fifth of the memory that the library takes.
RUN SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} HATCH_BUILD_HOOK_ENABLE_CUSTOM=true \
    CFLAGS=-fno-asynchronous-unwind-tables LDFLAGS=-Wl,-z,pack-relative-relocs \
    /opt/build/bin/python -m hatchling build -t wheel -d /tmp/dist \
    && pip --python /opt/sidecar/bin/python install --quiet --no-index --no-deps /tmp/dist/*.whl
COPY image image
RUN /opt/sidecar/bin/python image/lighten.py


FROM ${PYTHON}
# nft is for `sidecar firewall up`, in an init container of its own; iptables takes half as much again. dpkg's own list
# stays, so that scanners see what is installed.
RUN --mount=type=bind,from=build,source=/src/image,target=/image \
    --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/99build \
    apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates nftables >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache \
       /var/lib/dpkg/*-old /var/log/* \
    && python /image/bytecode.py \
    && install -d -o 65532 -g 65532 -m 0700 /var/lib/sidecar \
    && install -d -o 65532 -g 65532 -m 0755 /run/sidecar/ca
COPY --from=build /opt/sidecar /opt/sidecar
ARG SOURCE_DATE_EPOCH=1767225600
RUN --mount=type=bind,from=build,source=/src/image,target=/image \
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} /opt/sidecar/bin/python -B /image/sbom.py > /opt/sidecar/sbom.cdx.json

# SIDECAR_UNFIT_POLICIES: a container that ends over a typo in a policy would hold back the application for as long as
#   the restarts' back-off has grown, after the typo is gone.
# MALLOC_ARENA_MAX: glibc would keep what threads free apart, in up to eight arenas for each core of the node. Idle there
#   is no difference to measure; it is a bound for nodes with many cores.
# PYTHONDONTWRITEBYTECODE: all that is imported is compiled already, and the file system is not to be written.
ENV PATH=/opt/sidecar/bin:$PATH \
    SIDECAR_STATE=/var/lib/sidecar \
    SIDECAR_CA_DIR=/run/sidecar/ca \
    SIDECAR_UNFIT_POLICIES=wait \
    MALLOC_ARENA_MAX=2 \
    PYTHONDONTWRITEBYTECODE=1
# By number, which is what `runAsNonRoot` can check.
USER 65532:65532
WORKDIR /
# All that is ever written. Declared, so that a read-only container has them without being told.
VOLUME ["/var/lib/sidecar", "/run/sidecar/ca"]
EXPOSE 7600 7601
STOPSIGNAL SIGTERM
ENTRYPOINT ["sidecar"]
CMD ["run"]
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="sidecar" \
      org.opencontainers.image.description="A resilience proxy that runs beside an application and protects its calls to providers." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
