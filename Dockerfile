# The programs of distpool in an image: worker (the default) and distpool.
# The build is the Makefile's, so that an image holds what a developer tests.

FROM golang:1.26 AS build
WORKDIR /src
COPY . .
# What is downloaded and compiled stays on the building machine, for the next image.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build make build

# Certificates for rediss://, a user without rights, /tmp, and no shell.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /src/bin/worker /src/bin/distpool /usr/local/bin/
USER nonroot:nonroot
CMD ["worker"]
