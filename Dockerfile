# scgan_nb in a container, for CPU unless told otherwise:
#   docker build -t scgan_nb .                          or  --build-arg EXTRA=gpu  for NVIDIA GPUs
#   docker run --rm -p 8888:8888 scgan_nb               JupyterLab
#   docker run --rm -v "$PWD/out:/out" scgan_nb papermill nbs/train.ipynb /out/train.ipynb -p out_dir /out
#   docker run --rm scgan_nb scgan_nb --help            (for GPUs add: --gpus all)
# The folder mounted at /out must be writable by user id 1000.
# Checked by a linter only: no image has been built from this file yet, for CPU or GPU.
FROM python:3.11-slim-bookworm

ARG EXTRA=cpu
ENV PYTHONUNBUFFERED=1 \
    JUPYTER_CONFIG_PATH=/home/scgan/scgan_nb/ci/jupyter

RUN useradd --create-home --uid 1000 scgan
WORKDIR /home/scgan/scgan_nb

# The libraries first: this layer is made again only when the lock changes.
# tensorflow-cpu and tensorflow share their files: one or the other, never both.
COPY ci/locks/py311.txt /tmp/lock.txt
RUN case "$EXTRA" in \
      cpu) ;; \
      gpu) sed -i 's/^tensorflow-cpu==/tensorflow[and-cuda]==/' /tmp/lock.txt ;; \
      *) echo "EXTRA is cpu or gpu, not $EXTRA" >&2; exit 1 ;; \
    esac \
 && pip install --no-cache-dir --requirement /tmp/lock.txt

COPY --chown=scgan:scgan . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
 && chown -R scgan:scgan /home/scgan

USER 1000
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser"]
