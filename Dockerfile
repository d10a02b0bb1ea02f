# The program in a small image: docker build -t sodalake .
# Two stages: the first has the compiler, the second only the program and the certificates it trusts.

FROM rust:1.95-bookworm AS build
WORKDIR /build
# Dependencies first: this layer is built again only when they change.
COPY Cargo.toml Cargo.lock ./
# The manifest names benchmarks, and cargo wants to see what it names.
COPY benches benches
RUN mkdir src \
 && echo '//! Stands in for the library while dependencies are built.' >src/lib.rs \
 && echo 'fn main() {}' >src/main.rs \
 && cargo build --release --locked \
 && rm -r src
ARG REVISION=unknown
ENV SODALAKE_REVISION=$REVISION
COPY src src
# Newer than what the dependencies were built with, whatever the checkout's times are.
RUN touch src/lib.rs src/main.rs && cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin sodalake \
 && install -d -o sodalake -g sodalake -m 750 /var/lib/sodalake /var/lib/sodalake/archive
COPY --from=build /build/target/release/sodalake /usr/local/bin/sodalake

ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="sodalake" \
      org.opencontainers.image.description="Keeps what a city publishes on Socrata equal to what its data lake says" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# Without it the C library keeps freed memory apart for every thread, and gives little of it back.
ENV MALLOC_ARENA_MAX=1
# Inside a container the loopback reaches nobody; what is published is the engine's business.
ENV SODALAKE__HTTP__LISTEN=0.0.0.0:9464
USER 10001:10001
WORKDIR /var/lib/sodalake
EXPOSE 9464
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m CMD ["sodalake", "healthcheck"]
ENTRYPOINT ["sodalake"]
CMD ["run"]
