# scgan_nb in a container, for CPU unless told otherwise; x86-64 and ARM (--platform linux/amd64, linux/arm64):
#   docker build -t scgan_nb .                          or  --build-arg EXTRA=gpu  for NVIDIA GPUs
#   docker run --rm -p 8888:8888 scgan_nb               JupyterLab
#   docker run --rm -u "$(id -u)" -v "$PWD/out:/out" scgan_nb papermill nbs/train.ipynb /out/train.ipynb -p out_dir /out
#   docker run --rm scgan_nb scgan_nb --help            (for GPUs add: --gpus all)
#   apptainer run docker-archive:scgan_nb.tar scgan_nb --help    after: docker save scgan_nb -o scgan_nb.tar
# It runs under any user id; the folder mounted at /out must be writable by that user.
# Checked by a linter only: no image has been built from this file yet, for CPU or GPU, x86-64 or ARM.
FROM python:3.11-slim-bookworm AS libraries

ARG EXTRA=cpu

# The libraries first: this layer is made again only when the lock changes. openTSNE has no wheel for Linux on ARM and is
# compiled there.
# hadolint ignore=DL3008
RUN if [ "$(dpkg --print-architecture)" != amd64 ]; then \
      apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*; \
    fi

# tensorflow-cpu and tensorflow share their files: one or the other, never both.
COPY ci/locks/py311.txt /tmp/lock.txt
RUN case "$EXTRA" in \
      cpu) ;; \
      gpu) sed -i -E 's/^tensorflow(-cpu)?==/tensorflow[and-cuda]==/' /tmp/lock.txt ;; \
      *) echo "EXTRA is cpu or gpu, not $EXTRA" >&2; exit 1 ;; \
    esac \
 && python -m venv /opt/scgan \
 && /opt/scgan/bin/pip install --no-cache-dir --requirement /tmp/lock.txt

FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    HOME=/home/scgan \
    PATH=/opt/scgan/bin:$PATH \
    JUPYTER_CONFIG_PATH=/home/scgan/scgan_nb/ci/jupyter

RUN useradd --create-home --uid 1000 scgan
COPY --from=libraries /opt/scgan /opt/scgan
WORKDIR /home/scgan/scgan_nb
COPY . .
# for any user id: `docker run -u`, and clusters that choose one
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
 && chmod -R a+rwX /home/scgan

USER 1000
EXPOSE 8888
# HOME, NUMBA_CACHE_DIR and MPLCONFIGDIR in a place that this user can write
ENTRYPOINT ["sh", "/home/scgan/scgan_nb/ci/container"]
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser"]
