# One image with every part; docker-compose.yml says which part a container runs.
FROM debian:trixie-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3 python3-venv ca-certificates tzdata mosquitto mpv espeak-ng pulseaudio pulseaudio-utils tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home --home-dir /var/lib/keng keng

WORKDIR /opt/keng/source
COPY constraints.txt ./
COPY libs libs
COPY edge edge
COPY broker broker
COPY ingest ingest
COPY alerts alerts
COPY loudspeaker loudspeaker
COPY console console
COPY dashboards dashboards
COPY firmware-sim firmware-sim
COPY keng keng
RUN python3 -m venv /opt/keng \
    && /opt/keng/bin/pip install --no-cache-dir -c constraints.txt \
        ./libs/contracts ./libs/signals ./libs/runtime ./libs/store ./edge ./broker ./ingest ./alerts ./loudspeaker \
        ./console ./dashboards ./firmware-sim ./keng \
    && rm -rf /opt/keng/source

ENV PATH=/opt/keng/bin:$PATH
USER keng
WORKDIR /var/lib/keng
ENTRYPOINT ["/usr/bin/tini", "--", "keng"]
CMD ["--help"]
