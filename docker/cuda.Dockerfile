# cellseg on an NVIDIA GPU. Not built by CI; the commands are those of README.md.
#
#     docker build --file docker/cuda.Dockerfile --tag cellseg:cuda .
#     docker run --rm --gpus all --volume "$PWD/images:/data" cellseg:cuda predict /data --out /data/predictions
#
# torch brings the CUDA libraries along, so that the host needs only NVIDIA's driver and container toolkit.
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /cellseg
COPY . .
RUN make install PYTHON=python3.12 && .venv/bin/pip install --no-cache-dir torchvision==0.28.0
ENV PATH="/cellseg/.venv/bin:$PATH"
ENTRYPOINT ["cellseg"]
CMD ["--help"]
