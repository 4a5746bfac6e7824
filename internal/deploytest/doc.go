// Package deploytest checks the files with which distpool is deployed: the
// Dockerfile and docker-compose.yml, the configuration of Prometheus, the manifests
// for Kubernetes and the systemd units. It holds tests only, so that what they
// import stays out of the programs.
package deploytest
