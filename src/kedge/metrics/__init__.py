"""The metrics port: Prometheus exposition, liveness and readiness over HTTP."""
