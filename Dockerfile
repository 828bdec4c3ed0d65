# goflow with traces, S3 for large payloads, and what the examples need. Flows and goflow.toml are mounted or copied to /flows.
FROM python:3.11-slim

RUN useradd --create-home goflow \
    && mkdir /flows /out /payloads \
    && chown goflow /flows /out /payloads

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY goflow goflow
COPY goflow_cli goflow_cli
COPY backends backends
RUN pip install --no-cache-dir '.[otlp,s3]' Pillow && rm -rf /src

WORKDIR /flows
USER goflow
ENTRYPOINT ["goflow"]
