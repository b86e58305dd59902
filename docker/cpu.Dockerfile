# cellseg on a CPU. Not built by CI; the commands are those of README.md.
#
#     docker build --file docker/cpu.Dockerfile --tag cellseg .
#     docker run --rm --volume "$PWD/images:/data" cellseg predict /data --out /data/predictions
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /cellseg
COPY . .
# The address of PyTorch's CPU wheels, which its installation page names; empty takes the CUDA build.
ARG TORCH_INDEX=""
RUN make install PYTHON=python3.12 TORCH_INDEX="$TORCH_INDEX"
ENV PATH="/cellseg/.venv/bin:$PATH"
ENTRYPOINT ["cellseg"]
CMD ["--help"]
