// Package deploytest checks the files with which distpool is deployed: the
// Dockerfile and docker-compose.yml, the configuration of Prometheus, the manifests
// for Kubernetes, the systemd units, and what docs/operations.md names. It holds
// tests only, so that what they import stays out of the programs.
package deploytest
